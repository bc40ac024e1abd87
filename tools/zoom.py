"""Look closer at a part of one picture."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from tools.moment import Moment
from tools.ranges import settle
from tools.scene import Scene
from tools.seconds import Seconds, write
from tools.tool import Applied, Box, Exhibit, Observation, Tool, ToolError

_PAD = 0.1  # part of the box's size that is added on every side
_LEAST = 1 / 16  # part of the picture; a smaller box is enlarged to it


def _numbers(value: Any) -> Any:
    """Four numbers from a text such as "0.5, 0, 1, 0.5"."""
    if not isinstance(value, str):
        return value
    return tuple(part for part in value.strip("[]() ").replace(",", " ").split())


class Zoom(Tool):
    """Show one part of the frame at `time` enlarged; `box` is left, top, right, bottom from 0 to 1."""

    essential: ClassVar[tuple[str, ...]] = ("time", "box")
    name: Literal["zoom"] = "zoom"
    time: Seconds = Field(description="Second of the frame.")
    box: Annotated[Box, BeforeValidator(_numbers)] = Field(
        description="left, top, right, bottom, as fractions of width and height."
    )

    def apply(self, scene: Scene) -> Observation:
        place = settle(scene, self.time, self.time)
        time = scene.span.clamp(self.time) if self.time <= scene.span.end else place.span.start
        box, said = _settled(self.box)
        moved = tuple(code for code in place.warnings if code != "widened")
        return Observation(
            summary=f"part of the frame at {write(time)}",
            applied=Applied(ranges=((time, time),), frames=1, side=scene.ladder[0][0]),
            warnings=(*moved, *said),
            exhibit=Exhibit((Moment.at(time),), box=box),
        )


def _settled(box: Box) -> tuple[Box, tuple[str, ...]]:
    """The nearest box that exists, with some room around it; ends in thousandths or hundredths are understood."""
    said: list[str] = []
    largest = max(box)
    if min(box) < 0 or largest > 1000:
        raise ToolError("bad_box", "A box has four numbers from 0 to 1.", "Give left, top, right, bottom.")
    if largest > 1:
        scale = 100 if largest <= 100 else 1000
        box = (box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale)
        said.append("box_rescaled")
    left, right = sorted((box[0], box[2]))
    top, bottom = sorted((box[1], box[3]))
    if (left, top, right, bottom) != box:
        said.append("swapped")
    (left, right), (top, bottom) = _padded(left, right), _padded(top, bottom)
    return (left, top, right, bottom), tuple(said)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = max((high - low) * _PAD, (_LEAST - (high - low)) / 2)
    return max(0.0, low - room), min(1.0, high + room)
