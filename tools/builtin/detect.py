"""Find named things in the pictures: an extra, for which a detector must be given."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tools.base import AppliedArguments, Fact, Observation, Tool, ToolError, clamp_range
from tools.context import ToolContext
from tools.video.sampling import Seconds, spread

_FPS = 1.0  # frames a second that are searched
_SIDE = 640  # pixels
_GAP = 1.5  # seconds of absence that are bridged: ViQAgent's


def _names(value: Any) -> Any:
    """Names from a text that lists them."""
    return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value


class Detect(Tool):
    """Tell in which seconds from `start` to `end` up to five named things are seen."""

    essential: ClassVar[tuple[str, ...]] = ("targets",)
    name: Literal["detect"] = "detect"
    targets: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        min_length=1, max_length=5, description="Names of things."
    )
    start: Seconds | None = Field(None, description="First second.")
    end: Seconds | None = Field(None, description="Last second.")

    def apply(self, context: ToolContext) -> Observation:
        if context.detector is None:
            raise ToolError("not_installed", "Nothing here finds things by name.", "Use view.")
        place = clamp_range(context, self.start, self.end)
        count = max(1, min(context.limits.max_facts, round(place.span.length * _FPS)))
        frames = context.frames(spread((place.span,), count), _SIDE)
        seen = [(frame.time, context.detector.find(frame, self.targets)) for frame in frames]
        step = place.span.length / count
        facts = [fact for target in self.targets for fact in _intervals(target, seen, step)]
        applied = AppliedArguments(ranges=((place.span.start, place.span.end),), frames=len(frames), side=_SIDE)
        return Observation(
            summary=f"{len(facts)} intervals", data=tuple(facts), applied=applied, warnings=place.warnings
        )


def _intervals(target: str, seen: list[tuple[float, dict[str, int]]], step: float) -> list[Fact]:
    """When a thing is seen, with the most of it at once; short absences are bridged."""
    found: list[tuple[float, float, int]] = []
    for time, counts in seen:
        if not (count := counts.get(target, 0)):
            continue
        if found and time - found[-1][1] <= max(_GAP, 1.5 * step):
            start, _, most = found.pop()
            found.append((start, time, max(most, count)))
        else:
            found.append((time, time, count))
    return [Fact(start=a, end=b, text=f"{target}, at most {n} at once", origin="film") for a, b, n in found]
