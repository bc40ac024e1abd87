"""Draw demo videos and write them as H.264 in MP4, with subtitles as SubRip."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from agents.demo.generator import FPS, RGB, SIDE, DemoVideo, Shot, Sign

Pixels = NDArray[np.uint8]
_PLATE, _INK = (250, 240, 210), (20, 20, 20)

# Corners on a circle of radius 1000 around the centre; y points down.
_CORNERS: dict[str, list[tuple[int, int]]] = {
    "square": [(-800, -800), (800, -800), (800, 800), (-800, 800)],
    "triangle": [(0, -1000), (920, 760), (-920, 760)],
    "diamond": [(0, -1050), (680, 0), (0, 1050), (-680, 0)],
    "cross": [
        (-320, -980), (320, -980), (320, -320), (980, -320), (980, 320), (320, 320),
        (320, 980), (-320, 980), (-320, 320), (-980, 320), (-980, -320), (-320, -320),
    ],
    "star": [
        (0, -1050), (260, -360), (1000, -325), (420, 137), (617, 850),
        (0, 440), (-617, 850), (-420, 137), (-1000, -325), (-260, -360),
    ],
}  # fmt: skip


def draw_frame(shot: Shot, frame: int, side: int = SIDE) -> Pixels:
    """RGB pixels of the given frame of a shot, at any side length."""
    canvas = np.full((side, side, 3), shot.ground, np.uint8)
    x, y = (place * side // SIDE for place in shot.place(frame))
    radius, colour = shot.radius * side // SIDE, RGB[shot.colour]
    if shot.shape == "circle":
        cv2.circle(canvas, (x, y), radius * 95 // 100, colour, cv2.FILLED)
    else:
        corners = [(x + dx * radius // 1000, y + dy * radius // 1000) for dx, dy in _CORNERS[shot.shape]]
        cv2.fillPoly(canvas, [np.array(corners, np.int32)], colour)
    if shot.sign is not None:
        _draw_sign(canvas, shot.sign, side)
    return canvas


def _draw_sign(canvas: Pixels, sign: Sign, side: int) -> None:
    """A light plate of 36 pixels with a dark digit of 18 in a video of full size."""
    left, top, right, bottom = (edge * side // SIDE for edge in sign.plate)
    cv2.rectangle(canvas, (left, top), (right, bottom), _PLATE, cv2.FILLED)
    scale = side / SIDE
    at = round(left + 10 * scale), round(top + 27 * scale)
    cv2.putText(canvas, sign.digit, at, cv2.FONT_HERSHEY_SIMPLEX, 0.85 * scale, _INK, max(1, round(2 * scale)))


_GOP = 4 * FPS
_LONG = 300.0  # seconds
_STRIDE = 3


def encode_video(video: DemoVideo, path: Path) -> None:
    """Write the video. One thread and no scene guessing: the same video gives the same bytes.

    A long video is written at half the size and a third of the rate, which is enough to follow it.
    """
    every, side = (_STRIDE, SIDE // 2) if video.duration > _LONG else (1, SIDE)
    options = {"preset": "veryfast", "crf": "26", "threads": "1", "sc_threshold": "0"}
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS // every, options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.gop_size = _GOP // every
        stream.thread_count = 1
        stream.time_base = Fraction(every, FPS)
        for shot in video.shots:
            for frame in range(-shot.first % every, shot.frames, every):
                picture = av.VideoFrame.from_ndarray(draw_frame(shot, frame, side), format="rgb24")
                picture.pts = (shot.first + frame) // every
                container.mux(stream.encode(picture))
        container.mux(stream.encode())


def subtitles_srt(video: DemoVideo) -> str:
    """The narrator's lines as SubRip; empty where nobody speaks."""
    blocks = (
        f"{number}\n{_clock(line.start)} --> {_clock(line.end)}\n{line.text}\n"
        for number, line in enumerate(video.lines, 1)
    )
    return "\n".join(blocks)


def _clock(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"
