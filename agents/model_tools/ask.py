"""Ask about a part of the video someone who sees only that part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from agents.core.run import ModelTool, Run
from agents.engines.base import Picture, Sampling
from agents.parsing.structured import StructuredOutput
from agents.prompts import agentic
from tools.base import AppliedArguments, Fact, Observation, ToolError, clamp_range
from tools.context import ToolContext
from tools.video.sampling import Seconds, Span, spread

_MAX_TOKENS = 256
_REFUSAL = re.compile(r"\b(?:I(?:'m| am) (?:sorry|unable)|I can(?:'|no)t (?:help|assist|comply))", re.IGNORECASE)
_UNSEEN = re.compile(r"\b(?:not (?:seen|visible|shown)|cannot (?:be seen|see|tell)|nothing visible)\b", re.IGNORECASE)


class Sighting(StructuredOutput):
    """When something is seen, and what."""

    start: Seconds
    end: Seconds
    text: str


class AskReply(StructuredOutput):
    """What someone says who saw a part of the video."""

    found: Literal["yes", "partial", "no"]
    answer: str
    evidence: tuple[Sighting, ...] = ()


class Ask(ModelTool):
    """Ask a question of its own about the frames from `start` to `end`, and get the answer in words."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end", "question")
    name: Literal["ask"] = "ask"
    start: Seconds | None = Field(None, description="First second.")
    end: Seconds | None = Field(None, description="Last second.")
    ranges: tuple[tuple[Seconds, Seconds], ...] = Field((), description="First and last seconds of several ranges.")
    question: str = Field(min_length=1, description="A question that can be understood without any other.")
    frames: int | None = Field(None, ge=1, description="How many frames.")
    fps: float | None = Field(None, gt=0, le=30, description="Or how many a second.")
    detail: float = Field(1.0, gt=0, le=1, description="Size of the frames, as a fraction of the largest.")

    @property
    def wanted(self) -> tuple[tuple[float | None, float | None], ...]:
        """The ranges that are asked about."""
        return self.ranges or ((self.start, self.end),)

    async def apply(self, run: Run, context: ToolContext) -> Observation:
        return await ask_about(self, run, context, ())


async def ask_about(asked: Ask, run: Run, context: ToolContext, known: Sequence[Fact]) -> Observation:
    """What is seen in some ranges that answers a question; `known` is told beside the frames."""
    places = [clamp_range(context, start, end) for start, end in asked.wanted]
    spans = tuple(place.span for place in places)
    wanted = asked.frames or round(sum(span.length for span in spans) * (asked.fps or context.limits.fps or 1.0))
    pictures = await run.look(spread(spans, max(1, min(wanted, context.limits.frames))))
    side = max(round(context.frame_sizes[0][0] * asked.detail), context.frame_sizes[-1][0])
    shown = tuple(each.resized(side) for each in pictures)
    text = agentic.with_facts(known, agentic.ask(asked.question, spans, slots="schema" in run.capabilities))
    told = await _told(run, shown, text)
    if told is None or _REFUSAL.search(told.answer):
        raise ToolError("refused", "No answer came about this part.", "Ask in other words, or about other seconds.")
    answers = [Fact(start=span.start, end=span.end, text=told.answer) for span in spans[:1]]
    proofs = [each for each in (_within(seen, spans) for seen in told.evidence) if each is not None]
    said = tuple(dict.fromkeys(code for place in places for code in place.warnings))
    applied = AppliedArguments(ranges=tuple((s.start, s.end) for s in spans), frames=len(shown), side=side)
    return Observation(
        summary=f"found: {told.found}",
        data=(*(proofs if told.found != "no" else ()), *answers),
        applied=applied,
        warnings=(*said, *(("nothing_visible",) if told.found == "no" else ())),
    )


async def _told(run: Run, shown: Sequence[Picture], text: str) -> AskReply | None:
    """The answer in slots, where the engine can be held to them, else in plain words."""
    if "schema" in run.capabilities:
        return await run.ask_structured(AskReply, text, shown, purpose="ask", max_tokens=_MAX_TOKENS)
    return _read((await run.ask_freely(shown, text, Sampling(max_tokens=_MAX_TOKENS), "ask")).text)


def _read(text: str) -> AskReply | None:
    """What was told in plain words."""
    words = text.strip()
    if not words or _REFUSAL.search(words):
        return None
    return AskReply(found="no" if _UNSEEN.search(words) else "yes", answer=words)


def _within(seen: Sighting, spans: Sequence[Span]) -> Fact | None:
    """What was seen, if it is seen in a part that was shown; its ends cut to that part."""
    start, end = sorted((seen.start, seen.end))
    span = next((each for each in spans if start < each.end and end >= each.start), None)
    return None if span is None else Fact(start=span.clamp(start), end=span.clamp(end), text=seen.text)
