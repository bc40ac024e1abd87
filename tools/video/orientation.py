"""How a stored picture has to be turned, mirrored and stretched to be seen as it was filmed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.video.frame import fit_size

_WIDEST_PIXEL = 4.0
"""Pixel aspects beyond this (or below its inverse) are taken for nonsense and ignored."""


@dataclass(frozen=True, slots=True)
class Orientation:
    """Quarter turns counter-clockwise, then a left-right mirror; `aspect` is a pixel's width / height."""

    turns: int = 0
    mirrored: bool = False
    aspect: float = 1.0

    @classmethod
    def read(cls, matrix: bytes | None, aspect: float) -> "Orientation":
        """From a container's display matrix (nine 32-bit integers, 16.16 fixed point) and pixel aspect.

        Turns that are not a multiple of 90 degrees go to the nearest; a broken matrix means no turn.
        """
        if not 1 / _WIDEST_PIXEL <= aspect <= _WIDEST_PIXEL:
            aspect = 1.0
        if matrix is None or len(matrix) < 36:
            return cls(aspect=aspect)
        a, b, _, c, d = np.frombuffer(matrix[:20], np.int32).astype(float)
        mirrored = bool(a * d - b * c < 0)
        if mirrored:
            a, c = -a, -c
        # (a, b) is where the picture's x axis points on a screen whose y axis points down.
        turns = round(np.degrees(np.arctan2(-b, a)) / 90) % 4 if a or b else 0
        return cls(turns, mirrored, aspect)

    @property
    def degrees(self) -> int:
        """Turn applied to the stored picture, counter-clockwise: 0, 90, 180 or 270."""
        return self.turns * 90

    def display_size(self, width: int, height: int) -> tuple[int, int]:
        """Size in pixels of the upright, square-pixel picture of a stored one; nothing is enlarged."""
        width, height = self._square(width, height)
        return (height, width) if self.turns % 2 else (width, height)

    def stored_size(self, width: int, height: int, side: int) -> tuple[int, int]:
        """Size to scale a stored picture to, so that upright its longest side is at most `side` pixels."""
        return fit_size(*self._square(width, height), side)

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(height, width, 3) as stored -> as it should be seen."""
        turned = np.rot90(image, self.turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def _square(self, width: int, height: int) -> tuple[int, int]:
        if self.aspect > 1:
            return width, max(1, round(height / self.aspect))
        return max(1, round(width * self.aspect)), height
