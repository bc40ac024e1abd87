"""The videos of the tests: frames that show their own number in every container and codec, or given frames in H.264."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

COLUMNS, ROWS = 4, 3
MILLISECOND = Fraction(1, 1000)


def paint(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width, 3): the number's low 12 bits as bright and dark fields over a moving slope."""
    slope = (np.arange(width) * 60 // width + number * 3) % 60
    image = np.broadcast_to(slope[None, :, None], (height, width, 3)).astype(np.uint8).copy()
    for bit in range(COLUMNS * ROWS):
        row, column = divmod(bit, COLUMNS)
        if number >> bit & 1:
            image[
                row * height // ROWS : (row + 1) * height // ROWS,
                column * width // COLUMNS : (column + 1) * width // COLUMNS,
            ] += 160
    return image


def number(image: NDArray[np.uint8]) -> int:
    """What `paint` wrote, from an upright picture of any size."""
    height, width = image.shape[:2]
    found = 0
    for bit in range(COLUMNS * ROWS):
        row, column = divmod(bit, COLUMNS)
        y, x = (2 * row + 1) * height // (2 * ROWS), (2 * column + 1) * width // (2 * COLUMNS)
        found |= int(image[y - 4 : y + 4, x - 4 : x + 4].mean() > 120) << bit
    return found


def steady(count: int, gap: int = 40, start: int = 0) -> tuple[int, ...]:
    """Presentation times in ticks at a constant rate."""
    return tuple(start + gap * index for index in range(count))


@dataclass(frozen=True)
class VideoScript:
    """How to encode a video; times are in ticks, one per picture."""

    suffix: str
    codec: str = "libx264"
    times: Sequence[int] = steady(60)
    tick: Fraction = MILLISECOND
    options: dict[str, str] = field(default_factory=lambda: {"g": "12", "bf": "3", "preset": "veryfast"})
    muxer: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    size: tuple[int, int] = (160, 120)
    rotation: int = 0
    aspect: Fraction | None = None
    sound_seconds: float = 0.0

    def seconds(self) -> list[float]:
        """When each picture is shown, the first at 0."""
        return [float((time - self.times[0]) * self.tick) for time in self.times]

    def shoot(self, folder: Path, name: str = "film") -> Path:
        """Encode it and return the file."""
        path = folder / f"{name}{self.suffix}"
        with av.open(str(path), "w", options=self.muxer) as container:
            stream = container.add_stream(self.codec, rate=25, options=self.options)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = *self.size, self.pixels
            stream.codec_context.time_base = self.tick
            stream.codec_context.thread_count = 1
            if self.rotation:
                stream.set_display_rotation(self.rotation)
            if self.aspect:
                stream.codec_context.sample_aspect_ratio = self.aspect
            if self.sound_seconds:
                record(container, self.sound_seconds)
            for index, time in enumerate(self.times):
                picture = av.VideoFrame.from_ndarray(paint(index, *self.size), format="rgb24")
                picture.pts, picture.time_base = time, self.tick
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path


def encode_frames(path: Path, frames: Iterable[NDArray[np.uint8]], rate: int, **options: str) -> Path:
    """Write frames of one shape (height, width, 3) as H.264 at `rate` frames a second, and return the file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", **options})
        stream.pix_fmt = "yuv420p"
        for image in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def record(container: OutputContainer, seconds: float) -> None:
    """Add a silent sound track."""
    stream = container.add_stream("aac", rate=8000, layout="mono")
    assert isinstance(stream, AudioStream)
    for start in range(0, int(seconds * 8000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


JERKY = tuple(int(t) for t in np.cumsum(np.random.default_rng(3).choice([17, 33, 40, 400], 60)))

SCRIPTS = {
    "h264 with B-pictures": VideoScript(".mp4"),
    "h264 open groups": VideoScript(
        ".mp4", options={"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}
    ),
    "h264 one group": VideoScript(".mp4", options={"x264-params": "keyint=infinite:scenecut=0"}),
    "h264 all key": VideoScript(".mp4", options={"g": "1"}),
    "h264 4:4:4": VideoScript(".mkv", pixels="yuv444p"),
    "h264 10 bit": VideoScript(".mp4", pixels="yuv420p10le"),
    "fragmented mp4": VideoScript(".mp4", muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "mov starting late": VideoScript(".mov", times=steady(60, start=5000)),
    "mkv without length": VideoScript(".mkv", muxer={"live": "1"}),
    "mkv starting late": VideoScript(".mkv", times=steady(60, start=5000)),
    "webm vp8": VideoScript(".webm", "libvpx", options={"g": "12", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "webm vp9": VideoScript(".webm", "libvpx-vp9", options={"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "webm live": VideoScript(".webm", "libvpx-vp9", options={"g": "12", "deadline": "realtime"}, muxer={"live": "1"}),
    "hevc open groups": VideoScript(
        ".mp4",
        "libx265",
        options={"x265-params": "log-level=none:keyint=12:open-gop=1", "preset": "ultrafast"},
    ),
    "hevc closed groups": VideoScript(
        ".mp4",
        "libx265",
        options={"x265-params": "log-level=none:keyint=12:open-gop=0", "preset": "ultrafast"},
    ),
    "hevc 10 bit": VideoScript(
        ".mkv",
        "libx265",
        pixels="yuv420p10le",
        options={"x265-params": "log-level=none:keyint=12:open-gop=0", "preset": "ultrafast"},
    ),
    "av1": VideoScript(".mp4", "libsvtav1", options={"g": "12", "preset": "8", "crf": "20"}),
    "mpeg-ts": VideoScript(".ts"),
    "mpeg-ts open groups": VideoScript(
        ".ts", options={"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}
    ),
    "mpeg-ts starting late": VideoScript(".ts", times=steady(60, start=50000)),
    "mpeg-ps": VideoScript(".mpg", "mpeg2video", steady(60, 1), Fraction(1, 25), {"g": "12", "bf": "2"}),
    "avi mpeg4": VideoScript(".avi", "mpeg4", steady(60, 1), Fraction(1, 25), {"g": "12", "bf": "2"}),
    "avi h264": VideoScript(".avi", times=steady(60, 1), tick=Fraction(1, 25)),
    "avi mjpeg": VideoScript(".avi", "mjpeg", steady(60, 1), Fraction(1, 25), {}, pixels="yuvj420p"),
    "flv": VideoScript(".flv"),
    "variable rate mp4": VideoScript(".mp4", times=JERKY),
    "variable rate mkv": VideoScript(".mkv", times=JERKY),
    "one picture": VideoScript(".mp4", times=(0,)),
    "two pictures": VideoScript(".mkv", times=(0, 40)),
}

DECORD_READS = (
    "h264 with B-pictures",
    "h264 one group",
    "h264 all key",
    "h264 4:4:4",
    "h264 10 bit",
    "mov starting late",
    "mkv starting late",
    "webm vp8",
    "webm vp9",
    "hevc closed groups",
    "hevc 10 bit",
    "variable rate mp4",
    "variable rate mkv",
    "one picture",
)
