"""Which seeds may be trained on. Test films have seeds of one thousand million and above."""

from __future__ import annotations

TEST_FROM = 1_000_000_000
DEV_FROM = 900_000_000


class ForbiddenSeed(Exception):
    """Training was about to touch a test film."""


def for_training(seed: int) -> int:
    """The seed itself, once it is known to be below the test range."""
    if not 0 <= seed < TEST_FROM:
        raise ForbiddenSeed(f"seed {seed} belongs to the test range (>= {TEST_FROM})")
    return seed


def split(seed: int) -> str:
    """Name of the split that a film's seed belongs to: train, dev or test."""
    if seed >= TEST_FROM:
        return "test"
    return "dev" if seed >= DEV_FROM else "train"
