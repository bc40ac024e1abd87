"""Carries calls out so that no call can end the search: repeats, traps, failures and slowness are told instead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from agents import briefing
from agents.applying import told
from agents.findings import Findings
from agents.planning.calls import Call
from agents.planning.toolbox import Toolbox
from agents.run import Run
from agents.skill import Result
from tools.moment import Span
from tools.ranges import overlap
from tools.scene import Scene, ViewLimits
from tools.submit import Submit
from tools.tool import AnyTool, Observation, ToolError
from tools.view import View

_SAME = 0.9  # overlap at which two ranges are the same
_REPEATS = 3  # times in a row that the same is asked for again, after which the search ends
_FRUITLESS = 3  # calls in a row of one tool that bring nothing new, after which it rests for a turn
_HOPELESS = 6  # calls in a row of any tools that bring nothing new, after which the search ends
_BREAKS = 2  # failures after which a tool is out of order
_RETRIED = frozenset({"failed", "unreadable", "slow"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """A call that was carried out, and how dense a look it was, in frames a second."""

    tool: AnyTool
    result: Result
    density: float


class Executor:
    """Carries out the calls of one search. `patience`: seconds that one call may take.

    `stuck`: so many calls in a row brought nothing new that the search should end. `resting`: a tool that brought
    nothing several times and is not offered in the next turn.
    """

    def __init__(self, run: Run, toolbox: Toolbox, limits: ViewLimits, patience: float = 60.0) -> None:
        self.findings = Findings()
        self.stuck = False
        self.resting: str | None = None
        self._run = run
        self._toolbox = toolbox
        self._limits = limits
        self._patience = patience
        self._seen: list[_Seen] = []
        self._repeats = 0
        self._fruitless: list[str] = []
        self._failures: dict[str, int] = {}

    @property
    def usable(self) -> Toolbox:
        """What can be called: all tools but those that are out of order."""
        return self._toolbox.without(*(name for name, times in self._failures.items() if times >= _BREAKS))

    @property
    def offered(self) -> Toolbox:
        """What the model is told that it can call: all but the tool that rests."""
        return self.usable.without(self.resting) if self.resting else self.usable

    async def do(self, call: Call) -> Result:
        """Carry out a call. Whatever goes wrong is told in the result."""
        try:
            if call.arguments is None:
                raise ToolError("bad_json", "The arguments are no JSON object.", "Write them again.")
            tool = self.usable.bind(call.name, call.arguments)
        except ToolError as error:
            self._run.note(f"not carried out: {error}")
            return self._settled(Result(_Unknown(name=call.name), Observation.failed(error)))
        if isinstance(tool, Submit):
            return await self._run.use(tool, self._run.scene(self._limits))
        if (before := self._repeated(tool)) is not None:
            self._repeats += 1
            self._run.note(f"not carried out: {tool.name} as before")
            return self._settled(_again(tool, before))
        self._repeats = 0
        return self._settled(await self._applied(tool))

    def forget_looks(self) -> None:
        """Pictures have been taken out of the conversation: what they showed may be looked at again."""
        self._seen = [seen for seen in self._seen if not seen.result.pictures]

    async def _applied(self, tool: AnyTool) -> Result:
        """Apply a tool; after a failure once more on half the frames."""
        result = await self._within(tool, self._run.scene(self._limits))
        if _code(result) in _RETRIED:
            half = replace(self._limits, frames=max(1, self._limits.frames // 2))
            result = await self._within(_halved(tool), self._run.scene(half))
        if _code(result) in _RETRIED:
            self._failures[tool.name] = self._failures.get(tool.name, 0) + 1
        return result

    async def _within(self, tool: AnyTool, scene: Scene) -> Result:
        try:
            async with asyncio.timeout(self._patience):
                return await self._run.use(tool, scene)
        except TimeoutError:
            error = ToolError("slow", f"This took longer than {self._patience:g} s.", "Try a shorter range.")
            result = Result(tool, Observation.failed(error))
            self._run.trace.add(told(result))
            return result

    def _settled(self, result: Result) -> Result:
        """Keep what is new. Where nothing is, hint at another tool, let one rest, at last end the search."""
        name, self.resting = result.tool.name, None
        new = self.findings.add(result)
        if new:
            self._seen.append(_Seen(result.tool, result, _density(result.observation)))
        self._fruitless = [] if new else [*self._fruitless, name]
        hopeless = self._repeats >= _REPEATS or len(self._fruitless) >= _HOPELESS
        if hopeless or _code(result) == "budget":
            self.stuck = True
        if len(self._fruitless) >= _FRUITLESS and set(self._fruitless[-_FRUITLESS:]) == {name}:
            self.resting = name
            return _hinted(result, briefing.SWITCH)
        return result

    def _repeated(self, tool: AnyTool) -> Result | None:
        """The result of the same call, or of a look at the same range at least as dense."""
        for seen in reversed(self._seen):
            if _key(seen.tool) == _key(tool):
                return seen.result
            if isinstance(tool, View) and isinstance(seen.tool, View) and self._covers(seen, tool):
                return seen.result
        return None

    def _covers(self, seen: _Seen, tool: View) -> bool:
        try:
            wanted = tool.apply(self._run.scene(self._limits))
        except ToolError:
            return False
        pairs = zip(seen.result.observation.applied.ranges, wanted.applied.ranges, strict=False)
        same = all(overlap(_span(one), _span(two)) > _SAME for one, two in pairs)
        finer = (wanted.applied.side or 0) > (seen.result.observation.applied.side or 0)
        return same and not tool.times and not finer and _density(wanted) <= seen.density * 1.1


class _Unknown(AnyTool):
    """A call that stands for no tool."""


def _key(tool: AnyTool) -> tuple[Any, ...]:
    """What makes two calls the same: the tool, its seconds to the half, its words without case and space."""
    return (tool.name, *((key, _rough(value)) for key, value in sorted(tool.arguments.items())))


def _rough(value: Any) -> Any:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return round(value * 2) / 2 if abs(value) > 1 else round(value, 2)
    return " ".join(value.casefold().split()) if isinstance(value, str) else str(value)


def _again(tool: AnyTool, before: Result) -> Result:
    """What was found before, in words; its pictures are still there."""
    seen = before.observation
    changed = {"summary": f"{seen.summary}. {briefing.REPEATED}", "warnings": ("repeated",), "data": ()}
    return Result(tool, seen.model_copy(update=changed))


def _hinted(result: Result, hint: str) -> Result:
    seen = result.observation
    return replace(result, observation=seen.model_copy(update={"summary": f"{seen.summary} {hint}"}))


def _halved(tool: AnyTool) -> AnyTool:
    frames = getattr(tool, "frames", None)
    return tool.model_copy(update={"frames": max(1, frames // 2)}) if isinstance(frames, int) else tool


def _code(result: Result) -> str | None:
    return result.observation.error.code if result.observation.error else None


def _density(seen: Observation) -> float:
    length = sum(end - start for start, end in seen.applied.ranges)
    return seen.applied.frames / length if length > 0 else float(seen.applied.frames)


def _span(ends: tuple[float, float]) -> Span:
    return Span(ends[0], max(ends[1], ends[0] + 1e-3))
