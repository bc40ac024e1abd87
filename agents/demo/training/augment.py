"""Frames as the model sees them in training: small, and spoilt the way cameras and codecs spoil them."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np
import torch
from torch import Tensor

from agents.demo.encoder import Pixels, draw_frame
from agents.demo.generator import SIDE, Shot, Sign
from agents.demo.training.model import IMAGE_SIDE

_DRAWN = 2 * IMAGE_SIDE  # drawn twice too large, then averaged: smooth edges, a tenth of the full cost


def training_frame(shot: Shot, frame: int) -> Pixels:
    """A frame of a shot at the model's resolution, as shrinking the full video would give it."""
    # A sign is too small to be drawn at any other than the video's own size.
    return _shrink(draw_frame(shot, frame, _DRAWN if shot.sign is None else SIDE))


def closer_look(shot: Shot, frame: int, box: tuple[float, float, float, float]) -> Pixels:
    """A part of a frame, left, top, right, bottom as fractions of the video's picture, at the model's resolution."""
    left, top, right, bottom = (round(edge * SIDE) for edge in box)
    return _shrink(draw_frame(shot, frame)[top:bottom, left:right])


def crop_around(cell: int, rng: Random) -> tuple[float, float, float, float]:
    """A box about a cell, as a model with a shaky hand would draw it."""
    left, top, right, bottom = Sign("0", cell).box
    wider = [rng.uniform(-0.02, 0.06) for _ in range(4)]
    edges = left / SIDE - wider[0], top / SIDE - wider[1], right / SIDE + wider[2], bottom / SIDE + wider[3]
    return max(0.0, edges[0]), max(0.0, edges[1]), min(1.0, edges[2]), min(1.0, edges[3])


def degrade(picture: Pixels, rng: Random) -> Pixels:
    """Half of all frames come back with compression noise, a change of light, or both."""
    if rng.random() < 0.3:
        picture = _compress(picture, rng.randint(25, 90))
    if rng.random() < 0.3:
        gain, lift = rng.uniform(0.88, 1.12), rng.uniform(-10, 10)
        picture = np.clip(picture * gain + lift, 0, 255).astype(np.uint8)
    if rng.random() < 0.2:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, 6), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return picture


def to_tensor(pictures: Pixels) -> Tensor:
    """Pictures (n, height, width, 3) as the image processor would hand them over: -1 to 1, channels first."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _shrink(picture: Pixels) -> Pixels:
    return np.asarray(cv2.resize(picture, (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _compress(picture: Pixels, quality: int) -> Pixels:
    _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
