"""Which seconds of a film to look at. Pure arithmetic; knows no file."""

import math
import random
from dataclasses import dataclass
from functools import lru_cache

_PLANS = 32
"""Plans that are remembered: many ask for the same frames of a film again."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A second we would like to see, and how early or late a picture may be instead.

    All in seconds since the first picture. early == time == late asks for the picture showing at
    exactly that second; a wider window lets the decoder take the picture that costs least.
    Raises ValueError unless early <= time <= late and all are finite.
    """

    time: float
    early: float
    late: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.early) and math.isfinite(self.late)):
            raise ValueError("a moment needs finite seconds")
        if not self.early <= self.time <= self.late:
            raise ValueError("a moment needs early <= time <= late")

    @classmethod
    def at(cls, time: float) -> "Moment":
        """Exactly this second."""
        return cls(time, time, time)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a film, in seconds. Raises ValueError unless 0 <= start < end and both are finite."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and 0 <= self.start < self.end):
            raise ValueError("a span needs finite seconds with 0 <= start < end")

    @property
    def length(self) -> float:
        """Seconds."""
        return self.end - self.start

    def clamp(self, time: float) -> float:
        """The second inside the span nearest to `time`."""
        return min(max(time, self.start), self.end)


@lru_cache(_PLANS)
def grid(span: Span, n: int, known: int = 0) -> tuple[Moment, ...]:
    """Exact seconds start + length * i / n, i = 0..n-1: doubling n keeps every old second.

    `known` leaves out what grid(span, known) already has; n must then be a multiple of it.
    """
    _count(n)
    if known < 0 or (known and n % known):
        raise ValueError(f"a grid of {n} does not contain the grid of {known}")
    step = n // known if known else 0
    return tuple(Moment.at(span.clamp(span.start + span.length * i / n)) for i in range(n) if not step or i % step)


@lru_cache(_PLANS)
def centres(span: Span, n: int) -> tuple[Moment, ...]:
    """The middle of each of n equal bins; any picture in the middle half of its bin will do."""
    return _bins(span, n, 0.25)


@lru_cache(_PLANS)
def scout(span: Span, n: int) -> tuple[Moment, ...]:
    """One picture anywhere in each of n equal bins: as cheap as the film allows."""
    return _bins(span, n, 0.5)


def jittered(span: Span, n: int, rng: random.Random) -> tuple[Moment, ...]:
    """One exact random second in each of n equal bins."""
    _count(n)
    width = span.length / n
    return tuple(Moment.at(span.clamp(span.start + width * (i + rng.random()))) for i in range(n))


def around(time: float, span: Span, n: int, width: float) -> tuple[Moment, ...]:
    """n exact seconds evenly over `width` seconds around `time`, cut to the span; n = 1 is `time` itself."""
    _count(n)
    if not width >= 0:
        raise ValueError("width is a number of seconds, not negative")
    if n == 1:
        return (Moment.at(span.clamp(time)),)
    first, last = span.clamp(time - width / 2), span.clamp(time + width / 2)
    return tuple(Moment.at(span.clamp(first + (last - first) * i / (n - 1))) for i in range(n))


def _bins(span: Span, n: int, reach: float) -> tuple[Moment, ...]:
    """Bin centres that may move by `reach` bin widths; bins are half open so that none is taken twice."""
    _count(n)
    width = span.length / n
    middles = [span.start + width * (i + 0.5) for i in range(n)]
    return tuple(
        Moment(t, span.clamp(t - reach * width), max(t, math.nextafter(span.clamp(t + reach * width), t)))
        for t in middles
    )


def _count(n: int) -> None:
    if n < 1:
        raise ValueError("ask for at least one moment")
