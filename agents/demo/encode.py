"""Write a film as H.264 in MP4, and what its narrator says as SubRip."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from agents.demo.draw import draw
from agents.demo.film import FPS, SIDE, Film

_GOP = 4 * FPS
_LONG = 300.0  # seconds
_STRIDE = 3


def encode(film: Film, path: Path) -> None:
    """Write the film. One thread and no scene guessing: the same film gives the same bytes.

    A long film is written at half the size and a third of the rate, which is enough to follow it.
    """
    every, side = (_STRIDE, SIDE // 2) if film.duration > _LONG else (1, SIDE)
    options = {"preset": "veryfast", "crf": "26", "threads": "1", "sc_threshold": "0"}
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS // every, options=options)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.gop_size = _GOP // every
        stream.thread_count = 1
        stream.time_base = Fraction(every, FPS)
        for shot in film.shots:
            for frame in range(-shot.first % every, shot.frames, every):
                picture = av.VideoFrame.from_ndarray(draw(shot, frame, side), format="rgb24")
                picture.pts = (shot.first + frame) // every
                container.mux(stream.encode(picture))
        container.mux(stream.encode())


def subtitles(film: Film) -> str:
    """The narrator's lines as SubRip; empty where nobody speaks."""
    blocks = (
        f"{number}\n{_clock(line.start)} --> {_clock(line.end)}\n{line.text}\n"
        for number, line in enumerate(film.lines, 1)
    )
    return "\n".join(blocks)


def _clock(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"
