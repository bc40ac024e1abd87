"""Look closer at a part of one picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from tools.base import AppliedArguments, Box, FrameRequest, Observation, Tool, ToolError, clamp_range, counted
from tools.context import ToolContext
from tools.video.sampling import SampleWindow, Seconds, format_seconds, parse_seconds, spread

_PAD = 0.1  # part of the box's size that is added on every side
_LEAST = 1 / 16  # part of the picture; a smaller box is enlarged to it


# Thirds of a picture, as a model says that cannot measure: "top left", "northwest", "centre".
_ROWS = {"top": 0, "upper": 0, "north": 0, "bottom": 2, "lower": 2, "south": 2}
_COLUMNS = {"left": 0, "west": 0, "right": 2, "east": 2}
_MIDDLE = frozenset({"middle", "centre", "center"})
_WORD = re.compile("|".join((*_ROWS, *_COLUMNS, *_MIDDLE)))


def _box(value: Any) -> Any:
    """Four numbers from a text such as "0.5, 0, 1, 0.5", or from the words for a ninth of the picture."""
    if not isinstance(value, str):
        return value
    words = _WORD.findall(value.casefold())
    if words and not _WORD.sub("", value.casefold()).strip(" -_,"):
        return _ninth(words)
    return tuple(part for part in value.strip("[]() ").replace(",", " ").split())


def _ninth(words: Sequence[str]) -> Box:
    row = next((_ROWS[word] for word in words if word in _ROWS), 1)
    column = next((_COLUMNS[word] for word in words if word in _COLUMNS), 1)
    return column / 3, row / 3, (column + 1) / 3, (row + 1) / 3


class Zoom(Tool):
    """Show one part of the frame at `time` enlarged; `box` is left, top, right, bottom from 0 to 1, or "top left"."""

    essential: ClassVar[tuple[str, ...]] = ("time", "box")
    name: Literal["zoom"] = "zoom"
    time: Seconds | None = Field(None, description="Second of the frame; without it, frames of the whole video.")
    box: Annotated[Box, BeforeValidator(_box, json_schema_input_type=Box | str)] = Field(
        description='left, top, right, bottom, as fractions of width and height; or a ninth in words: "top left".'
    )

    @model_validator(mode="before")
    @classmethod
    def _without_time(cls, given: Any) -> Any:
        """A box alone on a plain line, whose first word stands where the time would: "north", "0.5 0 1 0.5"."""
        if not isinstance(given, Mapping) or not isinstance(time := given.get("time"), str):
            return given
        rest = given.get("box", "")
        alone = isinstance(rest, str) and not (isinstance(parse_seconds(time), float) and _is_whole(rest))
        return {**given, "time": None, "box": f"{time} {rest}".strip()} if alone else given

    def apply(self, context: ToolContext) -> Observation:
        box, warnings = _settled(self.box)
        moved: tuple[str, ...] = ()
        if self.time is None:
            moments, where = spread((context.span,), context.limits.frames), (context.span.start, context.span.end)
            summary = (
                f"part of {counted(len(moments), 'frame')} of {format_seconds(where[0])}-{format_seconds(where[1])}"
            )
        else:
            time, moved = self._at(self.time, context)
            moments, where, summary = (
                (SampleWindow.at(time),),
                (time, time),
                f"part of the frame at {format_seconds(time)}",
            )
        return Observation(
            summary=summary,
            applied=AppliedArguments(ranges=(where,), frames=len(moments), side=context.frame_sizes[0][0]),
            warnings=(*moved, *warnings),
            frame_request=FrameRequest(moments, box=box),
        )

    def _at(self, time: float, context: ToolContext) -> tuple[float, tuple[str, ...]]:
        place = clamp_range(context, time, time)
        settled = context.span.clamp(time) if time <= context.span.end else place.span.start
        return settled, tuple(code for code in place.warnings if code != "widened")


def _is_whole(box: str) -> bool:
    """Whether nothing is missing from a box on a plain line: a ninth in words, or four numbers."""
    return bool(_WORD.search(box.casefold())) or len(box.strip("[]() ").replace(",", " ").split()) == 4


def _settled(box: Box) -> tuple[Box, tuple[str, ...]]:
    """The nearest box that exists, with some room around it; ends in thousandths or hundredths are understood."""
    warnings: list[str] = []
    largest = max(box)
    if min(box) < 0 or largest > 1000:
        raise ToolError("bad_box", "A box has four numbers from 0 to 1.", "Give left, top, right, bottom.")
    if largest > 1:
        scale = 100 if largest <= 100 else 1000
        box = (box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale)
        warnings.append("box_rescaled")
    left, right = sorted((box[0], box[2]))
    top, bottom = sorted((box[1], box[3]))
    if (left, top, right, bottom) != box:
        warnings.append("swapped")
    (left, right), (top, bottom) = _padded(left, right), _padded(top, bottom)
    return (left, top, right, bottom), tuple(warnings)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = max((high - low) * _PAD, (_LEAST - (high - low)) / 2)
    return max(0.0, low - room), min(1.0, high + room)
