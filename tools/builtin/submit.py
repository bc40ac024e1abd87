"""Say the answer, which ends the search."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from tools.base import AppliedArguments, Observation, Tool, clamp_range
from tools.context import ToolContext
from tools.video.sampling import Seconds


class Submit(Tool):
    """Give the final answer, and the seconds from `start` to `end` that prove it."""

    essential: ClassVar[tuple[str, ...]] = ("answer",)
    name: Literal["submit"] = "submit"
    answer: str = Field(min_length=1, description="The answer, as the question asks for it.")
    start: Seconds | None = Field(None, description="First second that proves it.")
    end: Seconds | None = Field(None, description="Last second that proves it.")

    @field_validator("answer", mode="before")
    @classmethod
    def _words(cls, answer: object) -> object:
        return str(answer) if isinstance(answer, int | float) and not isinstance(answer, bool) else answer

    def apply(self, context: ToolContext) -> Observation:
        if self.start is None and self.end is None:
            return Observation(summary="answered")
        place = clamp_range(context, self.start, self.end if self.end is not None else self.start)
        ranges = ((place.span.start, place.span.end),)
        return Observation(summary="answered", applied=AppliedArguments(ranges=ranges), warnings=place.warnings)
