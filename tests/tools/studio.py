"""Makes real encoded films whose every picture carries its own number, readable after compression."""

from __future__ import annotations

from collections.abc import Sequence
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
class Script:
    """How to encode a film; times are in ticks, one per picture."""

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


def record(container: OutputContainer, seconds: float) -> None:
    """Add a silent sound track."""
    stream = container.add_stream("aac", rate=8000, layout="mono")
    assert isinstance(stream, AudioStream)
    for start in range(0, int(seconds * 8000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
