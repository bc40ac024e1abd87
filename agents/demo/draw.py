"""Draw one frame of a shot with integer geometry, so that the pixels are the same on every machine."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from agents.demo.film import SIDE, Shot, Sign
from agents.demo.world import RGB

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


def draw(shot: Shot, frame: int, side: int = SIDE) -> Pixels:
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
        _write(canvas, shot.sign, side)
    return canvas


def _write(canvas: Pixels, sign: Sign, side: int) -> None:
    """A light plate of 36 pixels with a dark digit of 18 in a film of full size."""
    left, top, right, bottom = (edge * side // SIDE for edge in sign.plate)
    cv2.rectangle(canvas, (left, top), (right, bottom), _PLATE, cv2.FILLED)
    scale = side / SIDE
    at = round(left + 10 * scale), round(top + 27 * scale)
    cv2.putText(canvas, sign.digit, at, cv2.FONT_HERSHEY_SIMPLEX, 0.85 * scale, _INK, max(1, round(2 * scale)))
