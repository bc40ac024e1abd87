"""When every picture of a video is shown, and what has to be decoded to reach it.

A *position* is a packet's place in the file (decoding order). Presentation times are integers, in
ticks of the stream; nothing here divides by a frame rate, so a variable rate is no special case.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tools.video.sampling import SampleWindow, Span

Ticks = NDArray[np.int64]

NO_TIME = -(2**63)
"""FFmpeg's mark for a packet without a time stamp."""

_ROUNDING = 0.01
"""Ticks by which a second may miss its tick for being a binary fraction."""


@dataclass(frozen=True, slots=True)
class DecodeRange:
    """Decode from the key picture at `start`, on to the last of `targets` (rising positions)."""

    start: int
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """All packets of a stream: pts, raw, dts (packets,) int64 and key, shown (packets,) bool, in file order.

    `tick` is the length of a tick in seconds. `shown` is false for packets that yield no picture: before
    an edit's start, or leading pictures whose references were cut away. `raw` holds the times the
    container gives its packets, by which a packet is recognised after a seek; where those cannot be
    trusted, pts was found by decoding and must be written into a packet before it is decoded.
    """

    pts: Ticks
    raw: Ticks
    dts: Ticks
    key: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    tick: Fraction
    _order: NDArray[np.intp] = field(init=False, repr=False)
    _sorted: Ticks = field(init=False, repr=False)
    _keys: NDArray[np.intp] = field(init=False, repr=False)
    _costs: NDArray[np.intp] = field(init=False, repr=False)
    _latest: tuple[tuple[SampleWindow, ...], tuple[int, ...]] = field(init=False, repr=False, default=((), ()))

    def __post_init__(self) -> None:
        pictures = np.flatnonzero(self.shown)
        if not len(pictures) or not self.key.any():
            raise ValueError("a timeline needs a picture and a key picture")
        times, first = np.unique(self.pts[pictures], return_index=True)
        object.__setattr__(self, "_sorted", times)
        object.__setattr__(self, "_order", pictures[first])
        object.__setattr__(self, "_keys", np.flatnonzero(self.key))
        object.__setattr__(self, "_costs", self._order - self._starts(self._order))

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def restamped(self) -> bool:
        """Whether pts differs from what the container says."""
        return self.pts is not self.raw

    @property
    def keys(self) -> NDArray[np.intp]:
        """(groups,) positions of the key pictures, rising."""
        return self._keys

    @property
    def start(self) -> int:
        """First presentation time, in ticks."""
        return int(self._sorted[0])

    @property
    def open_groups(self) -> bool:
        """Whether some pictures refer to the group before the key picture they follow in the file."""
        pictures = np.flatnonzero(self.shown)
        place = np.searchsorted(self._keys, pictures, side="right") - 1
        return bool(np.any(self.pts[pictures] < self.pts[self._keys[place]]))

    def at_rank(self, rank: int) -> int:
        """Position of the n-th picture shown, from 0."""
        return int(self._order[rank])

    @property
    def last(self) -> int:
        """Position of the last picture shown."""
        return int(self._order[-1])

    @property
    def times(self) -> NDArray[np.float64]:
        """(frames,) second of every picture in the order shown, the first being 0."""
        return np.asarray((self._sorted - self.start) * float(self.tick), np.float64)

    @property
    def usual_gap(self) -> float:
        """Median seconds between two pictures; 0 for a single one."""
        return float(np.median(np.diff(self._sorted)) * float(self.tick)) if len(self) > 1 else 0.0

    def seconds(self, position: int) -> float:
        """Presentation time of a packet in seconds since the first picture."""
        return (int(self.pts[position]) - self.start) * float(self.tick)

    def count(self, span: Span) -> int:
        """How many pictures begin within a span of seconds."""
        return self._rank(span.end, late=False) - self._rank(span.start, late=False)

    def showing(self, time: float) -> int:
        """Position of the picture on screen at a second: the last with a time <= it, at least the first."""
        return int(self._order[max(0, self._rank(time, late=True) - 1)])

    def choose(self, moments: Sequence[SampleWindow]) -> tuple[int, ...]:
        """For each moment, position of the cheapest picture that begins inside its window, else of the one showing.

        The latest answer is remembered: of most videos the same moments are asked for again and again.
        """
        wanted = tuple(moments)
        latest = self._latest
        if latest[0] != wanted:
            latest = wanted, self._choose(wanted)
            object.__setattr__(self, "_latest", latest)
        return latest[1]

    def _choose(self, moments: Sequence[SampleWindow]) -> tuple[int, ...]:
        early, late, time = np.array([(each.early, each.late, each.time) for each in moments]).reshape(-1, 3).T
        first, end = self._ranks(early, late=False), self._ranks(late, late=True)
        sizes = np.maximum(end - first, 0)
        starts = np.cumsum(sizes) - sizes
        owner = np.repeat(np.arange(len(sizes)), sizes)  # whose window, for every picture that is in one
        inside = np.arange(len(owner)) + (first - starts)[owner]
        away = np.abs(self._sorted[inside] - (self.start + time / float(self.tick))[owner])
        best = inside[np.lexsort((away, self._costs[inside], owner))]
        ranks = np.maximum(self._ranks(time, late=True) - 1, 0)
        ranks[sizes > 0] = best[starts[sizes > 0]]
        return tuple(self._order[ranks].tolist())

    def decode_ranges(self, positions: Iterable[int], back: int = 0) -> list[DecodeRange]:
        """One walk per group of pictures; `back` starts that many key pictures earlier than needed."""
        wanted = np.unique(np.fromiter(positions, np.int64))
        groups: dict[int, list[int]] = {}
        for start, target in zip(self._starts(wanted, back), wanted, strict=True):
            groups.setdefault(int(start), []).append(int(target))
        return [DecodeRange(start, tuple(targets)) for start, targets in sorted(groups.items())]

    def _starts(self, positions: NDArray[np.intp], back: int = 0) -> NDArray[np.intp]:
        """The key picture each position is decoded from.

        A leading picture (shown before the key picture it follows in the file) refers to the group before.
        """
        place = np.searchsorted(self._keys, positions, side="right") - 1
        leading = self.pts[positions] < self.pts[self._keys[np.maximum(place, 0)]]
        return self._keys[np.maximum(place - leading - back, 0)]

    def _rank(self, time: float, late: bool) -> int:
        return int(self._ranks(np.array([time]), late)[0])

    def _ranks(self, times: NDArray[np.float64], late: bool) -> NDArray[np.intp]:
        """(moments,) For each second, how many pictures begin before it, or at it if `late`."""
        exact = times / float(self.tick)
        whole = np.floor(exact + _ROUNDING) if late else np.ceil(exact - _ROUNDING)
        ticks = np.clip(whole, -1, int(self._sorted[-1]) - self.start + 1).astype(np.int64)
        return self._sorted.searchsorted(ticks + self.start, side="right" if late else "left")
