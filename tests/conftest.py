"""One real encoded video for all tests: 64 seconds, four frames a second, a grey that tells the second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.videos import encode_frames

VIDEO_SECONDS = 64.0
# Seconds that a test may take, setting up included, where it is more than the default.
_SLOW = {"clients": 900, "docs": 1200, "faults": 600, "gpu": 1800, "vllm": 1800}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of slow suites more time."""
    for item in items:
        if more := [seconds for name, seconds in _SLOW.items() if item.get_closest_marker(name)]:
            item.add_marker(pytest.mark.timeout(max(more)))


@pytest.fixture(scope="session")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An H.264 video whose frame at second s has grey level 16 + 3·s."""
    frames = (np.full((48, 64, 3), 16 + 3 * (index // 4), np.uint8) for index in range(int(VIDEO_SECONDS) * 4))
    return encode_frames(tmp_path_factory.mktemp("films") / "seconds.mp4", frames, rate=4, g="16")
