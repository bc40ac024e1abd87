"""Prompts with pictures, as the service composes them."""

from __future__ import annotations

import numpy as np

from agents.core.model_client import compose_prompt
from agents.engines.base import Message, Picture, Prompt
from tools.video.frame import Frame


def picture(seed: int, width: int = 56, height: int = 42) -> Picture:
    """A picture of noise; the same seed and size give the same one."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(Frame(float(seed), pixels), f"noise:{seed}:{width}x{height}")


def strip(frames: int, text: str, first: int = 0) -> Prompt:
    """So many frames and a question."""
    return compose_prompt([picture(seed) for seed in range(first, first + frames)], text)


def words(text: str) -> Prompt:
    """A question without frames."""
    return (Message("user", (text,)),)
