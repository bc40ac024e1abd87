from pathlib import Path

import pytest

from tests.tools.contexts import tool_context
from tests.videos import VideoScript
from tools.base import ToolError, clamp_range
from tools.video.sampling import Span, widen
from tools.video.video import Video


@pytest.fixture(scope="module")
def video(video_path: Path) -> Video:
    return Video.open(video_path)


@pytest.mark.parametrize(
    ("given", "span", "said"),
    [
        ((10, 20), (10, 20), ()),
        ((20, 10), (10, 20), ("swapped",)),
        ((-5, 20), (0, 20), ("clamped",)),
        ((60, 66.5), (60, 64), ("clamped",)),
        ((10, 10), (9.5, 10.5), ("widened",)),
        ((63.9, 63.9), (63, 64), ("widened",)),
        ((80, 120), (20, 30), ("frame_numbers_converted",)),
        ((None, 20), (0, 20), ()),
        ((None, None), (0, 64), ()),
    ],
    ids=str,
)
def test_a_range_becomes_one_that_exists(video: Video, given: tuple[float, float], span: object, said: object) -> None:
    settled = clamp_range(tool_context(video), *given)
    assert (settled.span.start, settled.span.end) == pytest.approx(span)
    assert settled.warnings == said


def test_a_range_after_the_end_is_refused_with_the_duration(video: Video) -> None:
    with pytest.raises(ToolError) as caught:
        clamp_range(tool_context(video), 64.5, 66)
    assert caught.value.code == "out_of_range"
    assert caught.value.hint == "Seconds go from 0 to 64."


def test_frame_numbers_are_converted_by_presentation_time(tmp_path: Path) -> None:
    times = [40 * i for i in range(50)] + [20_000 + 40 * i for i in range(50)]  # a gap of 18 seconds in the middle
    video = Video.open(VideoScript(".mp4", times=times).shoot(tmp_path))
    settled = clamp_range(tool_context(video), 50, 75)
    assert "frame_numbers_converted" in settled.warnings
    assert (settled.span.start, settled.span.end) == pytest.approx((20.0, 21.0)), "not 50/25 to 75/25 seconds"


def test_the_part_that_may_be_looked_at_is_the_video() -> None:
    whole = Span(10, 20)
    assert widen(Span(19.8, 20), 1, whole) == Span(19, 20)
    assert widen(Span(10, 10.2), 30, whole) == whole
