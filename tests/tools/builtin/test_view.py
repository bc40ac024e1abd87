from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.tools.contexts import tool_context
from tools.base import ToolError
from tools.builtin.view import View
from tools.builtin.zoom import Zoom
from tools.context import ViewLimits
from tools.video.video import Video


@pytest.fixture(scope="module")
def video(video_path: Path) -> Video:
    return Video.open(video_path)


def looked(video: Video, limits: ViewLimits | None = None, **arguments: Any) -> tuple[int, int | None, tuple[str, ...]]:
    seen = View(**arguments).apply(tool_context(video, limits=limits or ViewLimits()))
    assert seen.frame_request is not None
    assert seen.applied.frames == len(seen.frame_request.moments)
    return seen.applied.frames, seen.applied.side, seen.warnings


def test_frames_of_a_range_are_spread_over_it(video: Video) -> None:
    seen = View(start=10, end=14).apply(tool_context(video))
    assert seen.frame_request is not None
    assert seen.summary == "8 frames of 10-14"
    assert [moment.time for moment in seen.frame_request.moments] == [10.25 + 0.5 * i for i in range(8)]
    assert seen.applied.ranges == ((10, 14),)


def test_more_frames_than_allowed_become_fewer_and_it_is_said(video: Video) -> None:
    assert looked(video, start=0, end=60) == (16, 64, ("fewer_frames",))
    assert looked(video, start=0, end=60, frames=12) == (12, 64, ())


def test_or_they_are_refused_with_what_would_do(video: Video) -> None:
    limits = ViewLimits(frames=16, fps=1.0, on_excess="refuse")
    with pytest.raises(ToolError, match="20 frames are too many") as caught:
        View(start=0, end=20, fps=1).apply(tool_context(video, limits=limits))
    assert caught.value.hint == "Ask for at most 16, such as 16 s at 1 a second."
    with pytest.raises(ToolError, match="too many"):
        View(times=tuple(range(17))).apply(tool_context(video, limits=limits))


def test_a_range_that_holds_fewer_frames_than_asked_for(video: Video) -> None:
    assert looked(video, start=10, end=11, frames=8) == (4, 64, ("fewer_frames",))
    with pytest.raises(ToolError, match="holds only 4 frames"):
        View(start=10, end=11, frames=8).apply(tool_context(video, limits=ViewLimits(on_excess="refuse")))


def test_tokens_shrink_the_frames_first_and_then_their_number(video: Video) -> None:
    assert looked(video, ViewLimits(tokens=144), start=0, end=8) == (16, 48, ("smaller_frames",))
    assert looked(video, ViewLimits(tokens=40), start=0, end=8) == (8, 36, ("smaller_frames", "fewer_frames"))
    assert looked(video, ViewLimits(tokens=1), start=0, end=8) == (1, 36, ("smaller_frames", "fewer_frames"))


def test_detail_asks_for_smaller_frames(video: Video) -> None:
    assert looked(video, start=0, end=2, detail=0.8)[1] == 48
    assert looked(video, start=0, end=2, detail=0.01)[1] == 36


def test_single_seconds(video: Video) -> None:
    seen = View(times=(40, 3.5, "1:02")).apply(tool_context(video))
    assert seen.frame_request is not None
    assert [moment.time for moment in seen.frame_request.moments] == [3.5, 40, 62]
    assert seen.warnings == ()
    seen = View(times=tuple(range(20))).apply(tool_context(video))
    assert (seen.applied.frames, seen.warnings) == (16, ("fewer_frames",))


def test_nowhere_is_no_place_to_look() -> None:
    with pytest.raises(ValidationError, match="start and end, or times"):
        View()


def test_a_box_is_padded_and_stays_inside(video: Video) -> None:
    seen = Zoom(time=5, box=(0.5, 0, 1, 0.5)).apply(tool_context(video))
    assert seen.frame_request is not None
    assert seen.frame_request.box == pytest.approx((0.45, 0, 1, 0.55))
    assert seen.frame_request.moments[0].time == 5


@pytest.mark.parametrize(
    ("box", "settled", "said"),
    [
        ((1, 0.5, 0.5, 0), (0.45, 0, 1, 0.55), ("swapped",)),
        ("[0.5, 0, 1, 0.5]", (0.45, 0, 1, 0.55), ()),
        ((50, 0, 100, 50), (0.45, 0, 1, 0.55), ("box_rescaled",)),
        ((500, 0, 1000, 500), (0.45, 0, 1, 0.55), ("box_rescaled",)),
        ((0.5, 0.5, 0.5, 0.5), (0.46875, 0.46875, 0.53125, 0.53125), ()),
        ("top left", (0, 0, 0.3667, 0.3667), ()),
        ("southeast", (0.6333, 0.6333, 1, 1), ()),
        ("Upper-Right", (0.6333, 0, 1, 0.3667), ()),
        ("centre", (0.3, 0.3, 0.7, 0.7), ()),
        ("middle right", (0.6333, 0.3, 1, 0.7), ()),
    ],
    ids=str,
)
def test_a_box_becomes_one_that_exists(video: Video, box: Any, settled: Any, said: Any) -> None:
    seen = Zoom(time=5, box=box).apply(tool_context(video))
    assert seen.frame_request is not None
    assert seen.frame_request.box == pytest.approx(settled, abs=1e-4)
    assert seen.warnings == said


@pytest.mark.parametrize(
    ("given", "time"),
    [
        ({"time": "<12.5s>", "box": "north"}, 12.5),
        ({"time": "12", "box": "0.333,0,0.667,0.333"}, 12),
        ({"time": "north"}, None),
        ({"time": "top", "box": "centre"}, None),
        ({"time": "0.333", "box": "0 0.667 0.333"}, None),
        ({"box": "north"}, None),
    ],
    ids=str,
)
def test_a_box_may_stand_alone_on_a_line(video: Video, given: dict[str, str], time: float | None) -> None:
    seen = Zoom.model_validate({"name": "zoom", **given}).apply(tool_context(video))
    assert seen.frame_request is not None and seen.frame_request.box == pytest.approx((0.3, 0, 0.7, 0.3667), abs=1e-3)
    assert seen.applied.frames == (1 if time else 16)
    assert seen.applied.ranges == (((time, time),) if time else ((0, video.span.end),))


@pytest.mark.parametrize("words", ["the left star", "", "top left of 3", "nowhere"])
def test_words_that_name_no_ninth_are_no_box(words: str) -> None:
    with pytest.raises(ValidationError):
        Zoom.model_validate({"name": "zoom", "time": 5, "box": words})


def test_what_is_no_box_is_refused(video: Video) -> None:
    with pytest.raises(ToolError, match="four numbers from 0 to 1"):
        Zoom(time=5, box=(-1, 0, 2, 3)).apply(tool_context(video))
