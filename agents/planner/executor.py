"""Carries calls out so that no call can end the search: repeats, traps, failures and slowness are told instead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from agents.core.run import Run
from agents.core.tools import ToolResult, tool_event
from agents.evidence.base import Findings
from agents.planner.calls import ParsedCall
from agents.planner.toolbox import Toolbox
from agents.prompts import agentic
from tools.base import BaseTool, Observation, ToolError
from tools.builtin.submit import Submit
from tools.builtin.view import View
from tools.context import ToolContext, ViewLimits
from tools.video.sampling import Span, temporal_iou

_SAME = 0.9  # overlap at which two ranges are the same
_REPEATS = 3  # times in a row that the same is asked for again, after which the search ends
_FRUITLESS = 3  # calls in a row of one tool that bring nothing new, after which it rests for a turn
_MAX_FRUITLESS = 6  # calls in a row of any tools that bring nothing new, after which the search ends
_BREAKS = 2  # failures after which a tool is out of order
_RETRIED = frozenset({"failed", "unreadable", "slow"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """A call that was carried out, and how dense a look it was, in frames a second."""

    tool: BaseTool
    result: ToolResult
    density: float


class ToolExecutor:
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

    async def do(self, call: ParsedCall) -> ToolResult:
        """Carry out a call. Whatever goes wrong is told in the result."""
        try:
            if call.arguments is None:
                raise ToolError("bad_json", "The arguments are no JSON object.", "Write them again.")
            tool = self.usable.bind(call.name, call.arguments)
        except ToolError as error:
            self._run.note(f"not carried out: {error}")
            return self._settled(ToolResult(_Unknown(name=call.name), Observation.failed(error)))
        if isinstance(tool, Submit):
            return await self._run.call_tool(tool, self._run.tool_context(self._limits))
        if (before := self._repeated(tool)) is not None:
            self._repeats += 1
            self._run.note(f"not carried out: {tool.name} as before")
            return self._settled(_again(tool, before))
        self._repeats = 0
        return self._settled(await self._applied(tool))

    def forget_looks(self) -> None:
        """Pictures have been taken out of the conversation: what they showed may be looked at again."""
        self._seen = [seen for seen in self._seen if not seen.result.pictures]

    async def _applied(self, tool: BaseTool) -> ToolResult:
        """Apply a tool; after a failure once more on half the frames."""
        result = await self._within(tool, self._run.tool_context(self._limits))
        if _code(result) in _RETRIED:
            half = replace(self._limits, frames=max(1, self._limits.frames // 2))
            result = await self._within(_halved(tool), self._run.tool_context(half))
        if _code(result) in _RETRIED:
            self._failures[tool.name] = self._failures.get(tool.name, 0) + 1
        return result

    async def _within(self, tool: BaseTool, context: ToolContext) -> ToolResult:
        try:
            async with asyncio.timeout(self._patience):
                return await self._run.call_tool(tool, context)
        except TimeoutError:
            error = ToolError("slow", f"This took longer than {self._patience:g} s.", "Try a shorter range.")
            result = ToolResult(tool, Observation.failed(error))
            self._run.trace.add(tool_event(result))
            return result

    def _settled(self, result: ToolResult) -> ToolResult:
        """Keep what is new. Where nothing is, hint at another tool, let one rest, at last end the search."""
        name, self.resting = result.tool.name, None
        new = self.findings.add(result)
        if new:
            self._seen.append(_Seen(result.tool, result, _density(result.observation)))
        self._fruitless = [] if new else [*self._fruitless, name]
        hopeless = self._repeats >= _REPEATS or len(self._fruitless) >= _MAX_FRUITLESS
        if hopeless or _code(result) == "budget":
            self.stuck = True
        if len(self._fruitless) >= _FRUITLESS and set(self._fruitless[-_FRUITLESS:]) == {name}:
            self.resting = name
            return _hinted(result, agentic.SWITCH)
        return result

    def _repeated(self, tool: BaseTool) -> ToolResult | None:
        """The result of the same call, or of a look at the same range at least as dense."""
        for seen in reversed(self._seen):
            if _key(seen.tool) == _key(tool):
                return seen.result
            if isinstance(tool, View) and isinstance(seen.tool, View) and self._covers(seen, tool):
                return seen.result
        return None

    def _covers(self, seen: _Seen, tool: View) -> bool:
        try:
            wanted = tool.apply(self._run.tool_context(self._limits))
        except ToolError:
            return False
        pairs = zip(seen.result.observation.applied.ranges, wanted.applied.ranges, strict=False)
        same = all(temporal_iou(_span(one), _span(two)) > _SAME for one, two in pairs)
        finer = (wanted.applied.side or 0) > (seen.result.observation.applied.side or 0)
        return same and not tool.times and not finer and _density(wanted) <= seen.density * 1.1


class _Unknown(BaseTool):
    """A call that stands for no tool."""


def _key(tool: BaseTool) -> tuple[Any, ...]:
    """What makes two calls the same: the tool, its seconds to the half, its words without case and space."""
    return (tool.name, *((key, _rough(value)) for key, value in sorted(tool.arguments.items())))


def _rough(value: Any) -> Any:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return round(value * 2) / 2 if abs(value) > 1 else round(value, 2)
    return " ".join(value.casefold().split()) if isinstance(value, str) else str(value)


def _again(tool: BaseTool, before: ToolResult) -> ToolResult:
    """What was found before, in words; its pictures are still there."""
    seen = before.observation
    changed = {"summary": f"{seen.summary}. {agentic.REPEATED}", "warnings": ("repeated",), "data": ()}
    return ToolResult(tool, seen.model_copy(update=changed))


def _hinted(result: ToolResult, hint: str) -> ToolResult:
    seen = result.observation
    return replace(result, observation=seen.model_copy(update={"summary": f"{seen.summary} {hint}"}))


def _halved(tool: BaseTool) -> BaseTool:
    frames = getattr(tool, "frames", None)
    return tool.model_copy(update={"frames": max(1, frames // 2)}) if isinstance(frames, int) else tool


def _code(result: ToolResult) -> str | None:
    return result.observation.error.code if result.observation.error else None


def _density(seen: Observation) -> float:
    length = sum(end - start for start, end in seen.applied.ranges)
    return seen.applied.frames / length if length > 0 else float(seen.applied.frames)


def _span(ends: tuple[float, float]) -> Span:
    return Span(ends[0], max(ends[1], ends[0] + 1e-3))
