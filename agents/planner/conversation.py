"""The conversation of a planner: what was shown, called, found; only ever appended to, so that it is read once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Literal

from agents.core.model_client import compose_prompt
from agents.core.run import Run
from agents.core.tools import ToolResult
from agents.engines.base import Message, Picture, Prompt, Sampling, ToolCall
from agents.planner.calls import ParsedCall
from agents.planner.toolbox import Toolbox
from agents.prompts import agentic
from agents.prompts.untrusted import quote_facts

CallFormat = Literal["native", "json", "lines", "terse"]
CallProtocol = Literal["auto", "native", "json", "lines", "terse"]

_REMEMBERED = 1000  # characters of what the model wrote that stay in the conversation
_LINES: tuple[CallFormat, ...] = ("lines", "terse")

_HOW: dict[CallFormat, str] = {
    "native": "Call one tool at a time; `submit` ends the search.",
    "json": "Reply with a JSON object: a short thought, the name of a tool, its arguments. `submit` ends the search.",
    "lines": "To use a tool, write one line with its name and arguments, such as: view 12 20. These are the tools:",
    "terse": "",
}


def choose_format(protocol: CallProtocol, run: Run) -> CallFormat:
    """How the model calls tools: natively, else in JSON that it is held to, else on lines of plain text.

    A model so small that it cannot even answer by letter is taken to be trained on terse lines. What the engine does
    not offer is replaced by lines, and that is said.
    """
    if protocol == "auto":
        offered: CallFormat = (
            "native" if "tools" in run.capabilities else "json" if "schema" in run.capabilities else "lines"
        )
        return "terse" if run.answers_in_words else offered
    needs = {"native": "tools", "json": "schema"}.get(protocol)
    if needs is not None and needs not in run.capabilities:
        run.usage.add_degradation(f"the model cannot call tools by the protocol {protocol}: it calls on lines of text")
        return "lines"
    return protocol


def task_prompt(run: Run, toolbox: Toolbox, turns: int, way: CallFormat) -> str:
    """What the model is told at first."""
    listed = toolbox.without("submit") if way in _LINES else toolbox
    explain = way != "terse"
    listing = "" if way == "native" else listed.listing(explain)
    words = agentic.plan(run.question_text, run.span, turns, how=_HOW[way], listing=listing, explain=explain)
    return f'{words}\nWhen you know, write "Answer: " and {run.answer_description}.' if way == "lines" else words


class PlannerConversation:
    """Messages so far. Pictures of the first look stay; later ones go, oldest first, when there is no room.

    On terse lines, of a call that brought something, only what it brought is told.
    """

    def __init__(self, way: CallFormat, before: Prompt, first: Sequence[Picture], text: str) -> None:
        self.way = way
        self._messages = list(compose_prompt(first, text, before))
        self._kept = len(self._messages)

    @property
    def prompt(self) -> Prompt:
        """What the model reads."""
        return tuple(self._messages)

    def sampling(self, plain: Sampling, toolbox: Toolbox) -> Sampling:
        """How a reply is drawn that calls one of these tools."""
        if self.way == "native":
            return replace(plain, tools=toolbox.specs())
        return replace(plain, schema=toolbox.schema()) if self.way == "json" else plain

    def hear(self, text: str, calls: tuple[ToolCall, ...] = ()) -> None:
        """Add what the model said and called natively."""
        words = text[:_REMEMBERED] or ("" if calls else "…")
        self._messages.append(Message("assistant", (words,) if words else (), calls))

    def tell(self, text: str) -> None:
        """Add words of our own."""
        last = self._messages[-1]
        if last.role == "user":  # some chat templates refuse two turns of one speaker
            self._messages[-1] = replace(last, parts=(*last.parts, f"\n{text}"))
        else:
            self._messages.append(Message("user", (text,)))

    def report(
        self, done: Sequence[tuple[ParsedCall, ToolResult]], left_out: Sequence[ParsedCall] = (), after: str = ""
    ) -> None:
        """Add what came of some calls; those that were left out are told so.

        The result of a native call is told in our own words alone; what comes from the video follows as the user's,
        between marks, and pictures after it: the form that every chat template can show.
        """
        told = [(call.origin, _line(result)) for call, result in done]
        told += [(call.origin, agentic.TOO_MANY) for call in left_out]
        self._messages += [Message("tool", (words,), call=origin) for origin, words in told if origin is not None]
        parts: list[str | Picture] = []
        for call, result in done:
            bare = call.origin is not None or (self.way == "terse" and _brought(result))
            words = [] if bare else [_line(result)]
            parts += [
                "\n".join(each for each in (*words, quote_facts(result.observation.data)) if each),
                *result.pictures,
            ]
        shown = tuple(each for each in (*parts, after) if each)
        if shown or not any(origin is not None for origin, _ in told):
            self._messages.append(Message("user", _apart(shown)))

    async def evict(self, fits: Callable[[Prompt], Awaitable[bool]], *, most: int = 1 << 30) -> int:
        """Take out the oldest pictures after the first look until the prompt fits; their words stay. Says how many.

        `most`: pictures beyond the first look that may stay however much room there is.
        """
        gone = 0
        later = [i for i in range(self._kept, len(self._messages)) if _shown(self._messages[i])]
        for place in later[:-1]:
            if sum(_shown(self._messages[i]) for i in later) <= most and await fits(self.prompt):
                break
            gone += _shown(self._messages[place])
            self._messages[place] = _without_pictures(self._messages[place])
        return gone

    def replace_first(self) -> None:
        """Take the pictures of the first look out: later ones are shown instead of them."""
        self._messages[: self._kept] = [_without_pictures(each) for each in self._messages[: self._kept]]


def _line(result: ToolResult) -> str:
    """What was done, in our words."""
    seen = result.observation
    said = f" ({', '.join(seen.warnings)})" if seen.warnings else ""
    return f"{result.tool.name}: {seen.summary}{said}"


def _brought(result: ToolResult) -> bool:
    return result.observation.ok and bool(result.observation.data or result.pictures)


def _apart(parts: tuple[str | Picture, ...]) -> tuple[str | Picture, ...]:
    """Parts of which no two run together: words after something begin on a new line."""
    return tuple(f"\n{part}" if i and isinstance(part, str) else part for i, part in enumerate(parts))


def _shown(message: Message) -> int:
    return sum(isinstance(part, Picture) for part in message.parts)


def _without_pictures(message: Message) -> Message:
    words = tuple(part for part in message.parts if isinstance(part, str))
    return replace(message, parts=words or (agentic.FRAMES_DROPPED,)) if _shown(message) else message
