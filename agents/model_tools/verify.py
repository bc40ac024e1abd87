"""Check whether a part of the video shows something."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from agents.core.run import ModelTool, Run
from agents.prompts import agentic
from tools.base import AppliedArguments, Fact, Observation, ToolError, clamp_range
from tools.context import ToolContext
from tools.video.sampling import Seconds, Span, spread, widen

_LEAST = 2.0  # seconds; VideoMind's
_EXTENDED = 0.5  # of the range's length that is added on each side; VideoMind's
_FPS = 2.0
_MOST = 64  # frames


class Verify(ModelTool):
    """Check whether the frames from `start` to `end` show a statement; says how likely that is."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end", "statement")
    name: Literal["verify"] = "verify"
    start: Seconds = Field(description="First second.")
    end: Seconds = Field(description="Last second.")
    statement: str = Field(min_length=1, description="What should be seen there.")

    async def apply(self, run: Run, context: ToolContext) -> Observation:
        place = clamp_range(context, self.start, self.end)
        span = extended(place.span, context.span)
        count = max(1, min(round(span.length * _FPS), context.limits.frames, _MOST))
        pictures = await run.look(spread((span,), count))
        known = await run.yes_probability(pictures, agentic.statement(self.statement))
        if known is None:
            raise ToolError("undecided", "It could not be decided.", "Look at these seconds instead.")
        verdict = "yes" if known >= 0.5 else "no"
        fact = Fact(start=place.span.start, end=place.span.end, text=self.statement, score=round(known, 3))
        applied = AppliedArguments(ranges=((span.start, span.end),), frames=len(pictures))
        return Observation(
            summary=f"{verdict}, probability {known:.2f}", data=(fact,), applied=applied, warnings=place.warnings
        )


def extended(span: Span, whole: Span) -> Span:
    """A span of at least two seconds with half its length more on either side, within the video."""
    least = widen(span, _LEAST, whole)
    more = least.length * _EXTENDED
    return Span(max(whole.start, least.start - more), min(whole.end, least.end + more))
