"""Ask about a part of the film someone who sees only that part."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field

from agents import briefing
from agents.engine import Sampling
from agents.run import Run
from agents.skill import Skill
from agents.slots import Slots
from tools.moment import Span
from tools.ranges import Settled, settle, spread
from tools.scene import Scene
from tools.seconds import Seconds
from tools.tool import Applied, Fact, Observation, ToolError

_MAX_TOKENS = 256
_REFUSAL = re.compile(r"\b(?:I(?:'m| am) (?:sorry|unable)|I can(?:'|no)t (?:help|assist|comply))", re.IGNORECASE)
_UNSEEN = re.compile(r"\b(?:not (?:seen|visible|shown)|cannot (?:be seen|see|tell)|nothing visible)\b", re.IGNORECASE)


class Seen(Slots):
    """When something is seen, and what."""

    start: Seconds
    end: Seconds
    text: str


class Told(Slots):
    """What someone says who saw a part of the film."""

    found: Literal["yes", "partial", "no"]
    answer: str
    evidence: tuple[Seen, ...] = ()


class Ask(Skill):
    """Ask a question of its own about the frames from `start` to `end`, and get the answer in words."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end", "question")
    name: Literal["ask"] = "ask"
    start: Seconds = Field(description="First second.")
    end: Seconds = Field(description="Last second.")
    question: str = Field(min_length=1, description="A question that can be understood without any other.")
    frames: int | None = Field(None, ge=1, description="How many frames.")
    fps: float | None = Field(None, gt=0, le=30, description="Or how many a second.")
    detail: float = Field(1.0, gt=0, le=1, description="Size of the frames, as a fraction of the largest.")

    async def apply(self, run: Run, scene: Scene) -> Observation:
        place = settle(scene, self.start, self.end)
        wanted = self.frames or round(place.span.length * (self.fps or scene.limits.fps or 1.0))
        pictures = await run.look(spread((place.span,), max(1, min(wanted, scene.limits.frames))))
        side = max(round(scene.ladder[0][0] * self.detail), scene.ladder[-1][0])
        shown = tuple(each.resized(side) for each in pictures)
        slots = "schema" in run.offers
        text = briefing.ask(self.question, place.span, slots=slots)
        if slots:
            told = await run.fill(Told, text, shown, purpose="ask", max_tokens=_MAX_TOKENS)
        else:
            reply = await run.say(shown, text, Sampling(max_tokens=_MAX_TOKENS), "ask")
            told = _read(reply.text)
        return _observed(told, place, len(shown), side)


def _read(text: str) -> Told | None:
    """What was told in plain words."""
    words = text.strip()
    if not words or _REFUSAL.search(words):
        return None
    return Told(found="no" if _UNSEEN.search(words) else "yes", answer=words)


def _observed(told: Told | None, place: Settled, frames: int, side: int) -> Observation:
    span = place.span
    if told is None or _REFUSAL.search(told.answer):
        raise ToolError("refused", "No answer came about this part.", "Ask in other words, or about other seconds.")
    answer = Fact(start=span.start, end=span.end, text=told.answer)
    proofs = [each for each in (_within(seen, span) for seen in told.evidence) if each is not None]
    said = (*place.warnings, *(("nothing_visible",) if told.found == "no" else ()))
    applied = Applied(ranges=((span.start, span.end),), frames=frames, side=side)
    data = (*(proofs if told.found != "no" else ()), answer)
    return Observation(summary=f"found: {told.found}", data=data, applied=applied, warnings=said)


def _within(seen: Seen, span: Span) -> Fact | None:
    """What was seen, if it is seen in the part that was shown; its ends cut to that part."""
    start, end = sorted((seen.start, seen.end))
    if start >= span.end or end < span.start:
        return None
    return Fact(start=span.clamp(start), end=span.clamp(end), text=seen.text)
