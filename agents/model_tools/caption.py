"""Describe a part of the video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from agents.core.run import ModelTool, Run
from agents.engines.base import Sampling, texts_of
from agents.prompts import agentic
from tools.base import AppliedArguments, Fact, Observation, ToolError, clamp_range
from tools.context import ToolContext
from tools.video.sampling import Seconds, Span, spread

_MAX_TOKENS = 160


class Caption(ModelTool):
    """Describe what is seen from `start` to `end`, in seconds; with an eye on `instruction`, if there is one."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end")
    name: Literal["caption"] = "caption"
    start: Seconds = Field(description="First second.")
    end: Seconds = Field(description="Last second.")
    instruction: str | None = Field(None, description="What to pay attention to.")
    level: float | None = Field(None, gt=0, description="Length of the clips, in seconds.")

    async def apply(self, run: Run, context: ToolContext) -> Observation:
        place = clamp_range(context, self.start, self.end)
        span = place.span
        if self.instruction is None:
            lines = await run.captions.write(span, _nearest(run.captions.levels, self.level))
            facts = tuple(Fact(start=e.start, end=e.end, text=e.text, origin="caption") for e in lines)
            applied = AppliedArguments(ranges=tuple((each.start, each.end) for each in lines))
            return Observation(summary=f"{len(facts)} captions", data=facts, applied=applied, warnings=place.warnings)
        count = max(1, min(round(span.length * (context.limits.fps or 1.0)), context.limits.frames))
        text = agentic.caption(self.instruction, span)
        asked = "\n".join((*texts_of(run.opening), text, f"{count} frames"))
        words = known = await run.captions.recall(asked, span)
        if words is None:
            words = await _written(run, span, count, text)
            await run.captions.keep(asked, span, words)
        fact = Fact(start=span.start, end=span.end, text=words, origin="caption")
        applied = AppliedArguments(ranges=((span.start, span.end),), frames=0 if known else count)
        return Observation(summary="1 caption", data=(fact,), applied=applied, warnings=place.warnings)


async def _written(run: Run, span: Span, count: int, text: str) -> str:
    """A description of a span, from so many frames. Raises ToolError if none comes."""
    pictures = await run.look(spread((span,), count))
    words = (await run.ask_freely(pictures, text, Sampling(max_tokens=_MAX_TOKENS), "caption")).text.strip()
    if not words:
        raise ToolError("empty", "No description came.", "Describe other seconds, or look at them.")
    return words


def _nearest(levels: Sequence[float], wanted: float | None) -> float | None:
    """The level that is nearest to a length; the finest one if none is wanted."""
    return None if wanted is None else min(levels, key=lambda level: abs(level - wanted))
