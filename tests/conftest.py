"""One real encoded video for all tests: 64 seconds, four frames a second, a grey that tells the second."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

VIDEO_SECONDS = 64.0
# Seconds that a test may take, setting up included, where it is more than the default.
_SLOW = {"clients": 900, "faults": 600, "gpu": 1800, "vllm": 1800}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of slow suites more time."""
    for item in items:
        if more := [seconds for name, seconds in _SLOW.items() if item.get_closest_marker(name)]:
            item.add_marker(pytest.mark.timeout(max(more)))


@pytest.fixture(scope="session")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An H.264 video whose frame at second s has grey level 16 + 3·s."""
    path = tmp_path_factory.mktemp("films") / "seconds.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=4, options={"preset": "ultrafast", "g": "16"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(int(VIDEO_SECONDS) * 4):
            level = 16 + 3 * (index // 4)
            picture = np.full((48, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
