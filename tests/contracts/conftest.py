"""Fixtures for what everything must keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.video.video import Video


@pytest.fixture(scope="session")
def video(video_path: Path) -> Video:
    return Video.open(video_path)
