"""Which seconds of a video to sample, and how models write seconds. Pure arithmetic; knows no file."""

import math
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_PLANS = 32
"""Plans that are remembered: many ask for the same frames of a video again."""


@dataclass(frozen=True, slots=True)
class SampleWindow:
    """A second to sample, and how early or late the frame may be instead.

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
    def at(cls, time: float) -> "SampleWindow":
        """Exactly this second."""
        return cls(time, time, time)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video, in seconds. Raises ValueError unless 0 <= start < end and both are finite."""

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
def grid(span: Span, n: int, known: int = 0) -> tuple[SampleWindow, ...]:
    """Exact seconds start + length * i / n, i = 0..n-1: doubling n keeps every old second.

    `known` leaves out what grid(span, known) already has; n must then be a multiple of it.
    """
    _check_count(n)
    if known < 0 or (known and n % known):
        raise ValueError(f"a grid of {n} does not contain the grid of {known}")
    step = n // known if known else 0
    return tuple(
        SampleWindow.at(span.clamp(span.start + span.length * i / n)) for i in range(n) if not step or i % step
    )


@lru_cache(_PLANS)
def uniform(span: Span, n: int) -> tuple[SampleWindow, ...]:
    """The middle of each of n equal bins; any picture in the middle half of its bin will do."""
    return _bins(span, n, 0.25)


@lru_cache(_PLANS)
def cheapest(span: Span, n: int) -> tuple[SampleWindow, ...]:
    """One picture anywhere in each of n equal bins: as cheap as the video allows."""
    return _bins(span, n, 0.5)


def jittered(span: Span, n: int, rng: random.Random) -> tuple[SampleWindow, ...]:
    """One exact random second in each of n equal bins."""
    _check_count(n)
    width = span.length / n
    return tuple(SampleWindow.at(span.clamp(span.start + width * (i + rng.random()))) for i in range(n))


def around(time: float, span: Span, n: int, width: float) -> tuple[SampleWindow, ...]:
    """n exact seconds evenly over `width` seconds around `time`, cut to the span; n = 1 is `time` itself."""
    _check_count(n)
    if not width >= 0:
        raise ValueError("width is a number of seconds, not negative")
    if n == 1:
        return (SampleWindow.at(span.clamp(time)),)
    first, last = span.clamp(time - width / 2), span.clamp(time + width / 2)
    return tuple(SampleWindow.at(span.clamp(first + (last - first) * i / (n - 1))) for i in range(n))


def _bins(span: Span, n: int, reach: float) -> tuple[SampleWindow, ...]:
    """Bin centres that may move by `reach` bin widths; bins are half open so that none is taken twice."""
    _check_count(n)
    width = span.length / n
    middles = [span.start + width * (i + 0.5) for i in range(n)]
    return tuple(
        SampleWindow(t, span.clamp(t - reach * width), max(t, math.nextafter(span.clamp(t + reach * width), t)))
        for t in middles
    )


def _check_count(n: int) -> None:
    if n < 1:
        raise ValueError("ask for at least one moment")


_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{1,2}(?:\.\d+)?)")
_PLAIN = re.compile(r"[<(\[]?\s*(-?\d+(?:\.\d+)?)\s*(?:s|sec|secs|seconds?)?\s*[>)\]]?", re.IGNORECASE)


def parse_seconds(value: Any) -> Any:
    """A number of seconds from a number or from any of those texts; anything else as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    plain = _PLAIN.fullmatch(text)
    return float(plain[1]) if plain else value


def format_seconds(seconds: float) -> str:
    """Seconds as we write them for models: at most one decimal place."""
    return f"{round(seconds, 1):g}" if math.isfinite(seconds) else str(seconds)


Seconds = Annotated[float, BeforeValidator(parse_seconds), Field(allow_inf_nan=False)]
"""A second of the video, on its presentation clock."""

_HALF = 0.5


def widen(span: Span, least: float, whole: Span) -> Span:
    """The span with at least so many seconds, where the whole has them, around the same middle."""
    length = min(max(least, span.length), whole.length)
    if span.length >= length:
        return span
    middle = (span.start + span.end) * _HALF
    start = min(max(middle - length * _HALF, whole.start), whole.end - length)
    return Span(max(whole.start, start), min(whole.end, max(whole.start, start) + length))


def temporal_iou(one: Span, other: Span) -> float:
    """Seconds of both over seconds of either, in [0, 1]."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    return max(0.0, shared) / (one.length + other.length - max(0.0, shared))


def spread(spans: tuple[Span, ...], count: int) -> tuple[SampleWindow, ...]:
    """About `count` moments over several spans, each by its length, at least one in each; in order of time."""
    total = sum(span.length for span in spans)
    ordered = sorted(spans, key=lambda span: span.start)
    return tuple(m for span in ordered for m in uniform(span, max(1, round(count * span.length / total))))
