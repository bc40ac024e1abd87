"""Decoders of films: one module for each library, one contract, loaded when first asked for."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tools import picture
from tools.film import Film, digest, probe, stamp
from tools.frame import Frame
from tools.limits import Limits, Stopped
from tools.subtitles import Cue, hear, read

NAMES = ("pyav", "decord")
"""pyav is always there; decord needs the extra of that name."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Frames by packet position, those of them that came out damaged, and whether a limit ended it."""

    frames: dict[int, Frame]
    damaged: frozenset[int] = frozenset()
    exhausted: bool = False


class Library(Protocol):
    """What the module of a decoding library offers."""

    def check(self, film: Film) -> None:
        """Raise BadVideo, naming this library, if it cannot read this film."""

    def read(self, film: Film, wanted: Sequence[int], side: int, stop: Event | None = None) -> Reading:
        """Frames at packet positions of the film's timeline, upright, longest side at most `side` pixels.

        What cannot be decoded is left out, never replaced by another picture. Raises BadVideo, and Stopped
        soon after `stop` is set.
        """


class Decoder(Protocol):
    """Where films are decoded: in this process or out of it."""

    @property
    def name(self) -> str:
        """The library it uses."""

    def probe(self, path: Path, limits: Limits, stop: Event | None = None) -> Film:
        """Everything that has to be known to find pictures in a file. Raises BadVideo, Stopped."""

    def read(self, film: Film, wanted: Sequence[int], side: int, stop: Event | None = None) -> Reading:
        """See `Library.read`."""

    def hear(self, film: Film, beside: str | None = None, stop: Event | None = None) -> tuple[Cue, ...]:
        """A film's subtitles, or those of a text in their format. Raises BadVideo, Stopped."""

    def check(self, pictures: Mapping[int, bytes], limits: Limits) -> None:
        """Raise BadVideo if one of these encoded stills, known by their numbers from 0, is none or too large."""

    def draw(
        self, pictures: Mapping[int, bytes], side: int, limits: Limits, stop: Event | None = None
    ) -> dict[int, NDArray[np.uint8]]:
        """Encoded stills by number as (height, width, 3) RGB, longest side at most `side` pixels.

        Raises BadVideo, naming the picture, and Stopped.
        """


@dataclass(frozen=True, slots=True)
class InProcess:
    """Decodes on the calling thread: quickest to start, and as safe as the library is. Picklable."""

    name: str = "pyav"

    def probe(self, path: Path, limits: Limits, stop: Event | None = None) -> Film:
        """See `Decoder.probe`. Raises ValueError for an unknown library; opening is not stopped."""
        library = load(self.name)
        if stop is not None and stop.is_set():
            raise Stopped
        limits.check_bytes(stamp(path)[0])
        film = probe(path, digest(path), limits)
        library.check(film)
        return film

    def read(self, film: Film, wanted: Sequence[int], side: int, stop: Event | None = None) -> Reading:
        """See `Library.read`."""
        return load(self.name).read(film, wanted, side, stop)

    def hear(self, film: Film, beside: str | None = None, stop: Event | None = None) -> tuple[Cue, ...]:
        """See `Decoder.hear`. Is not stopped once it has begun."""
        if stop is not None and stop.is_set():
            raise Stopped
        return hear(film) if beside is None else read(beside, film.info.duration)

    def check(self, pictures: Mapping[int, bytes], limits: Limits) -> None:
        """See `Decoder.check`."""
        picture.check_all(pictures, limits)

    def draw(
        self, pictures: Mapping[int, bytes], side: int, limits: Limits, stop: Event | None = None
    ) -> dict[int, NDArray[np.uint8]]:
        """See `Decoder.draw`."""
        return picture.decode_all(pictures, side, limits, stop)


def load(name: str) -> Library:
    """A library by name. Raises ValueError for an unknown one or one that is not installed."""
    if name not in NAMES:
        raise ValueError(f"there is no decoder {name!r}; there are {', '.join(NAMES)}")
    try:
        return cast(Library, importlib.import_module(f"{__name__}.{name}"))
    except ImportError as error:
        raise ValueError(f"the decoder {name!r} is not installed here: {error}") from error
