"""Cut a range into shots, or into equal parts."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from tools.base import AppliedArguments, Fact, Observation, Tool, clamp_range, counted
from tools.context import ToolContext
from tools.video.frame import Frame
from tools.video.sampling import Seconds, Span, uniform

_FPS = 4.0  # frames a second in which cuts are looked for
_MOST = 240  # frames; a longer range is looked at more sparsely
_SIDE = 160  # pixels
_WINDOW = 1  # frames on either side with which a change is compared, so that motion is no cut
_CHANGE = 8.0  # mean change of hue, saturation and brightness, of 255, below which there is no cut


class Segment(Tool):
    """Cut the seconds from `start` to `end` into shots, or into `parts` of equal length."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end")
    name: Literal["partition"] = "partition"
    start: Seconds | None = Field(None, description="First second.")
    end: Seconds | None = Field(None, description="Last second.")
    parts: int | None = Field(None, ge=2, le=64, description="Equal parts, instead of shots.")

    def apply(self, context: ToolContext) -> Observation:
        place = clamp_range(context, self.start, self.end)
        parts = _equal_parts(place.span, self.parts) if self.parts else detect_shots(context, place.span)
        kept = parts[: context.limits.max_facts]
        return Observation(
            summary=counted(len(parts), "part" if self.parts else "shot"),
            data=tuple(Fact(start=s.start, end=s.end, text=f"{i}", origin="film") for i, s in enumerate(kept, 1)),
            applied=AppliedArguments(ranges=((place.span.start, place.span.end),)),
            warnings=place.warnings,
        )


def detect_shots(context: ToolContext, span: Span) -> tuple[Span, ...]:
    """The shots of a span, in order, found where the picture's colour and brightness jump (PySceneDetect).

    Blocks. Raises BadVideo. Cuts are as exact as the frames are dense: four a second, fewer in long spans.
    """
    count = max(2, min(_MOST, round(span.length * _FPS)))
    return split_at_cuts(context.frames(uniform(span, count), _SIDE), span)


def split_at_cuts(frames: tuple[Frame, ...], span: Span) -> tuple[Span, ...]:
    """Where frames in order of time change, as spans."""
    detector = AdaptiveDetector(min_scene_len=1, window_width=_WINDOW, min_content_val=_CHANGE)
    edges = [span.start]
    for number, frame in enumerate(frames):
        picture = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        for place in (found.frame_num for found in detector.process_frame(FrameTimecode(number, _FPS), picture)):
            edge = (frames[place - 1].time + frames[place].time) / 2 if place else span.start
            if edges[-1] < edge < span.end:
                edges.append(edge)
    return tuple(Span(start, end) for start, end in pairwise([*edges, span.end]))


def _equal_parts(span: Span, parts: int) -> tuple[Span, ...]:
    edges = [span.start + span.length * i / parts for i in range(parts)]
    return tuple(Span(start, end) for start, end in pairwise([*edges, span.end]))
