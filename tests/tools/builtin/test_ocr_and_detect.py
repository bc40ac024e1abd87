"""Tools for which something extra must be installed or given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tools.contexts import tool_context
from tools.base import ToolError
from tools.builtin.detect import Detect
from tools.builtin.ocr import Ocr
from tools.context import RecognizedText
from tools.video.frame import Frame
from tools.video.video import Video


@pytest.fixture(scope="module")
def video(video_path: Path) -> Video:
    return Video.open(video_path)


class Sign:
    """Reads the same sign in every picture of the first half."""

    def read(self, frame: Frame) -> Sequence[RecognizedText]:
        return [RecognizedText("EXIT", 0.9)] if frame.time < 32 else []


class Spotter:
    """Sees two stars from second 10 to 20 and one from 40 to 41."""

    def find(self, frame: Frame, targets: Sequence[str]) -> dict[str, int]:
        here = 2 if 10 <= frame.time < 20 else 1 if 40 <= frame.time < 41 else 0
        return {target: here for target in targets if target == "star"}


def test_writing_is_read_once_with_its_seconds(video: Video) -> None:
    seen = Ocr(start=0, end=30).apply(tool_context(video, text_reader=Sign()))
    assert [(fact.text, fact.origin, fact.score) for fact in seen.data] == [("EXIT", "ocr", 0.9)]
    assert seen.data[0].start < 3 < 27 < seen.data[0].end


def test_things_are_found_in_intervals(video: Video) -> None:
    seen = Detect(targets=("star", "moon")).apply(tool_context(video, detector=Spotter()))
    assert [fact.text for fact in seen.data] == ["star, at most 2 at once", "star, at most 1 at once"]
    assert (seen.data[0].start, seen.data[0].end) == pytest.approx((10.5, 19.5), abs=0.6)


def test_what_is_not_there_is_said(video: Video) -> None:
    for tool in (Ocr(start=0, end=5), Detect(targets=("star",))):
        with pytest.raises(ToolError) as caught:
            tool.apply(tool_context(video))
        assert caught.value.code == "not_installed"
