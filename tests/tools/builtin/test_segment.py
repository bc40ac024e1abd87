"""Shots of a video whose cuts are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tools.contexts import tool_context
from tests.videos import encode_frames
from tools.builtin.segment import Segment
from tools.video.video import Video

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 40))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    """Four shots of 3, 2, 5 and 2 seconds, each of one colour."""
    shots = zip(COLOURS, (3, 2, 5, 2), strict=True)
    frames = (np.full((48, 64, 3), colour, np.uint8) for colour, seconds in shots for _ in range(seconds * 10))
    return Video.open(encode_frames(tmp_path_factory.mktemp("videos") / "shots.mp4", frames, rate=10))


def test_shots_begin_where_the_picture_changes(video: Video) -> None:
    seen = Segment().apply(tool_context(video))
    assert [fact.start for fact in seen.data] == pytest.approx([0, 3, 5, 10], abs=0.25)
    assert [fact.end for fact in seen.data] == pytest.approx([3, 5, 10, 12], abs=0.25)
    assert seen.summary == "4 shots"


def test_a_part_of_the_video(video: Video) -> None:
    seen = Segment(start=6, end=12).apply(tool_context(video))
    assert [fact.start for fact in seen.data] == pytest.approx([6, 10], abs=0.25)


def test_one_shot_is_one_part(video: Video) -> None:
    assert len(Segment(start=6, end=9).apply(tool_context(video)).data) == 1


def test_equal_parts(video: Video) -> None:
    seen = Segment(parts=4).apply(tool_context(video))
    assert [(fact.start, fact.end) for fact in seen.data] == [(0, 3), (3, 6), (6, 9), (9, 12)]
