"""Fixtures for what everything must keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.video.video import Video


@pytest.fixture(scope="session")
def video(film: Path) -> Video:
    return Video.open(film)
