"""Look at a range of seconds, or at single ones."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tools.base import AppliedArguments, FrameRequest, Observation, Tool, ToolError, clamp_range, counted
from tools.context import ToolContext, ViewLimits
from tools.video.sampling import SampleWindow, Seconds, format_seconds, spread


class View(Tool):
    """Show frames of the video from `start` to `end`, or at single `times`, all in seconds."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end")
    name: Literal["view"] = "view"
    start: Seconds | None = Field(None, description="First second.")
    end: Seconds | None = Field(None, description="Last second.")
    times: tuple[Seconds, ...] = Field((), description="Single seconds, instead of a range.")
    frames: int | None = Field(None, ge=1, description="How many frames.")
    fps: float | None = Field(None, gt=0, description="Or how many a second.")
    detail: float = Field(1.0, gt=0, le=1, description="Size of the frames, as a fraction of the largest.")

    @model_validator(mode="after")
    def _somewhere(self) -> View:
        if self.start is None and self.end is None and not self.times:
            raise ValueError("give start and end, or times")
        return self

    def apply(self, context: ToolContext) -> Observation:
        moments, ranges, warnings = self._at_times(context) if self.times else self._in_range(context)
        side, count, shrunk = _fit(context, len(moments), self.detail)
        moments = moments if count == len(moments) else _thinned(moments, count)
        applied = AppliedArguments(ranges=ranges, frames=len(moments), side=side)
        where = ", ".join(f"{format_seconds(start)}-{format_seconds(end)}" for start, end in ranges)
        return Observation(
            summary=f"{counted(len(moments), 'frame')} of {where}",
            applied=applied,
            warnings=(*warnings, *shrunk),
            frame_request=FrameRequest(moments, side),
        )

    def _at_times(
        self, context: ToolContext
    ) -> tuple[tuple[SampleWindow, ...], tuple[tuple[float, float], ...], tuple[str, ...]]:
        places = [clamp_range(context, time, time) for time in self.times]
        if len(places) > context.limits.frames and context.limits.on_excess == "refuse":
            raise _too_many(len(places), context.limits, 0.0)
        kept = places[: context.limits.frames]
        middles = [(place.span.start + place.span.end) / 2 for place in kept]
        exact = [
            context.span.clamp(t) if t <= context.span.end else m for t, m in zip(self.times, middles, strict=False)
        ]
        warnings = {code for place in places for code in place.warnings if code != "widened"}
        if len(kept) < len(places):
            warnings.add("fewer_frames")
        return tuple(map(SampleWindow.at, sorted(exact))), tuple((t, t) for t in sorted(exact)), tuple(sorted(warnings))

    def _in_range(
        self, context: ToolContext
    ) -> tuple[tuple[SampleWindow, ...], tuple[tuple[float, float], ...], tuple[str, ...]]:
        place, limits = clamp_range(context, self.start, self.end), context.limits
        fps = self.fps or limits.fps
        wanted = self.frames or (round(place.span.length * fps) if fps else limits.frames)
        held = context.video.count_within(place.span)
        if limits.on_excess == "refuse" and (((self.frames or self.fps) and wanted > limits.frames) or wanted > held):
            raise _too_many(wanted, limits, fps) if wanted > limits.frames else _too_short(held)
        count = max(1, min(wanted, limits.frames, held))
        warnings = (*place.warnings, *(("fewer_frames",) if count < wanted else ()))
        return spread((place.span,), count), ((place.span.start, place.span.end),), warnings


def _fit(context: ToolContext, count: int, detail: float) -> tuple[int, int, tuple[str, ...]]:
    """Side in pixels and number of frames within the tokens of a view: smaller first, then fewer, at least one."""
    largest = context.frame_sizes[0][0]
    sizes = [each for each in context.frame_sizes if each[0] <= largest * detail] or [context.frame_sizes[-1]]
    side, cost = sizes[0]
    if not context.limits.tokens or count * cost <= context.limits.tokens:
        return side, count, ()
    side, cost = next((each for each in sizes if count * each[1] <= context.limits.tokens), sizes[-1])
    fewer = max(1, min(count, context.limits.tokens // cost))
    warnings = ("smaller_frames",) if side < sizes[0][0] else ()
    return side, fewer, (*warnings, *(("fewer_frames",) if fewer < count else ()))


def _thinned(moments: tuple[SampleWindow, ...], count: int) -> tuple[SampleWindow, ...]:
    return tuple(moments[(2 * i + 1) * len(moments) // (2 * count)] for i in range(count))


def _too_many(wanted: int, limits: ViewLimits, fps: float) -> ToolError:
    room = f", such as {format_seconds(limits.frames / fps)} s at {fps:g} a second" if fps else ""
    return ToolError("too_many_frames", f"{wanted} frames are too many.", f"Ask for at most {limits.frames}{room}.")


def _too_short(held: int) -> ToolError:
    return ToolError("too_short", f"This range holds only {held} frames.", "Choose a longer range, or fewer frames.")
