"""Decoders of films: one module each, one contract, loaded when first asked for."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from tools.film import Film
from tools.frame import Frame

NAMES = ("pyav", "decord")
"""pyav is always there; decord needs the extra of that name."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Frames by packet position, those of them that came out damaged, and whether the work limit ended it."""

    frames: dict[int, Frame]
    damaged: frozenset[int] = frozenset()
    exhausted: bool = False


class Decoder(Protocol):
    """What a decoder module offers."""

    def check(self, film: Film) -> None:
        """Raise BadVideo, naming this decoder, if it cannot read this film."""

    def read(self, film: Film, wanted: Sequence[int], side: int) -> Reading:
        """Frames at packet positions of the film's timeline, upright, longest side at most `side` pixels.

        What cannot be decoded is left out, never replaced by another picture.
        """


def load(name: str) -> Decoder:
    """A decoder by name. Raises ValueError for an unknown one or one that is not installed."""
    if name not in NAMES:
        raise ValueError(f"there is no decoder {name!r}; there are {', '.join(NAMES)}")
    try:
        return cast(Decoder, importlib.import_module(f"{__name__}.{name}"))
    except ImportError as error:
        raise ValueError(f"the decoder {name!r} is not installed here: {error}") from error
