"""Videos to measure decoding on: H.264 as x264 makes it, made once and kept."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

RATE, SEGMENT_SECONDS, SIZE = 25, 120, (640, 360)


def encode_footage(folder: Path, minutes: int) -> Path:
    """An H.264 video as x264 makes them (groups of 250, B-pictures): one segment, repeated without a seam."""
    folder.mkdir(parents=True, exist_ok=True)
    path, segment = folder / f"film-{minutes}.mp4", folder / "segment.mp4"
    if not segment.exists():
        shoot(segment.with_suffix(".part.mp4"))
        segment.with_suffix(".part.mp4").rename(segment)
    if not path.exists():
        part = path.with_suffix(".part.mp4")
        repeat(segment, part, minutes * 60 // SEGMENT_SECONDS)
        part.rename(path)
    return path


def shoot(path: Path) -> None:
    rng = np.random.default_rng(1)
    width, height = SIZE
    grain = rng.integers(0, 14, (8, height, width, 3), dtype=np.uint8)
    slope = (np.add.outer(np.arange(height), np.arange(width)) * 150 // (height + width)).astype(np.uint8)
    cloth = rng.integers(0, 255, (60, 600, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "26"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(SEGMENT_SECONDS * RATE):
            image = slope[:, :, None] + grain[index % 8]
            top, left = int(80 + 60 * np.sin(index / 40)), index * 2 % 440
            image[top : top + 140, left : left + 200] = cloth[:140, index * 3 % 1000 :][:, :200]
            image[240:330, 100:400] = cloth[100:190, 2000 - index % 900 :][:, :300]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))


def repeat(source: Path, target: Path, times: int) -> None:
    with av.open(str(target), "w") as output:
        stream = None
        for turn in range(times):
            with av.open(str(source)) as container:
                track = container.streams.video[0]
                stream = stream or output.add_stream_from_template(track)
                assert track.time_base
                shift = round(turn * SEGMENT_SECONDS / track.time_base)
                for packet in container.demux(track):
                    if packet.pts is not None and packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        output.mux(packet)
