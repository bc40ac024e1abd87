"""Prompts with pictures, as the service composes them."""

from __future__ import annotations

import numpy as np

from agents.conversation import compose
from agents.engine import Message, Picture, Prompt
from tools.frame import Frame


def picture(seed: int, width: int = 56, height: int = 42) -> Picture:
    """A picture of noise; the same seed and size give the same one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(Frame(float(seed), pixels), f"noise:{seed}:{width}x{height}")


def strip(frames: int, text: str, first: int = 0) -> Prompt:
    """So many frames and a question."""
    return compose([picture(seed) for seed in range(first, first + frames)], text)


def words(text: str) -> Prompt:
    """A question without frames."""
    return (Message("user", (text,)),)
