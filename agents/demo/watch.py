"""Frames of an encoded demo film at given seconds."""

from __future__ import annotations

from pathlib import Path

import av
from PIL import Image

from agents.demo.encode import encode
from agents.demo.film import FPS, Film


class Cinema:
    """Encodes films into a folder once and shows their decoded frames."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def screen(self, film: Film) -> list[Image.Image]:
        """Every frame of the film, after a round trip through H.264."""
        path = self.folder / f"{film.seed}.mp4"
        if not path.exists():
            fresh = path.with_suffix(".new")
            encode(film, fresh)
            fresh.replace(path)
        with av.open(path) as container:
            return [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def grid(film: Film, screened: list[Image.Image], count: int) -> list[tuple[float, Image.Image]]:
    """`count` frames of the nested grid t = T·i/n, each with its second."""
    times = [film.duration * i / count for i in range(count)]
    return [(time, screened[min(int(time * FPS + 1e-6), len(screened) - 1)]) for time in times]
