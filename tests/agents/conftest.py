"""Fixtures for everything that runs a strategy."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.agents.stage import Perform, play
from tools.video.video import Video


@pytest.fixture(scope="session")
def video(video_path: Path) -> Video:
    return Video.open(video_path)


@pytest.fixture
def perform(video: Video) -> Perform:
    """Run a strategy against a script: perform(spec, script, question=…, budget=…, engine options…)."""
    return partial(play, video)
