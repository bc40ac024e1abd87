"""One pass over all packets of a stream: the only way to know every picture's time in every container."""

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tools.limits import BadVideo, Limits
from tools.reel import Reel
from tools.timeline import NO_TIME, Ticks, Timeline

_NO_REORDER = frozenset({"avi"})
"""Containers that number packets in file order, which is a lie for H.264 and HEVC with B-pictures."""

_SPARSE = frozenset({"mpeg"})
"""Containers that give times to only some of their pictures."""

_LAST_RESORT_SECONDS = 0.04
"""Length of a single picture in a file that says nothing about it."""


@dataclass(slots=True)
class _Columns:
    """Packet facts in file order, compact while they grow."""

    pts: "array[int]" = field(default_factory=lambda: array("q"))
    dts: "array[int]" = field(default_factory=lambda: array("q"))
    length: "array[int]" = field(default_factory=lambda: array("q"))
    key: bytearray = field(default_factory=bytearray)
    cut: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """A timeline, the second its last picture ends (since the first one), and whether reading failed."""

    timeline: Timeline
    end: float
    damaged: bool

    @classmethod
    def read(cls, reel: Reel, limits: Limits) -> "Tape":
        """Read every packet without decoding. Raises BadVideo without packets or with too many."""
        columns = _columns(reel, limits)
        raw = np.frombuffer(columns.pts, np.int64)
        damaged = reel.errors > 0
        key = np.frombuffer(columns.key, np.bool_).copy()
        if not key.any():
            key[0] = True
        pts = _decoded_times(reel, raw, limits) if _distrusts(reel, raw) else raw
        first = int(np.flatnonzero(key)[0])
        # Pictures shown before the first key picture lost their references to whoever cut the file.
        shown = (pts != NO_TIME) & (pts >= pts[first]) & ~np.frombuffer(columns.cut, np.bool_)
        if not shown.any():
            raise BadVideo("This video says of none of its pictures when it is shown.")
        timeline = Timeline(pts, raw, np.frombuffer(columns.dts, np.int64), key, shown, reel.tick)
        last = timeline.last
        return cls(timeline, timeline.seconds(last) + _length(reel, timeline, columns.length[last]), damaged)


def _columns(reel: Reel, limits: Limits) -> _Columns:
    columns = _Columns()
    for packet in reel.packets():
        columns.pts.append(NO_TIME if packet.pts is None else packet.pts)
        columns.dts.append(NO_TIME if packet.dts is None else packet.dts)
        columns.length.append(packet.duration or 0)
        columns.key.append(packet.is_keyframe)
        columns.cut.append(packet.is_discard)
        if len(columns.key) > limits.max_frames:
            limits.check_frames(len(columns.key))
    if not columns.key:
        raise BadVideo("This file's video stream has no pictures in it.")
    return columns


def _length(reel: Reel, timeline: Timeline, ticks: int) -> float:
    """Seconds the last picture lasts."""
    rate = reel.stream.average_rate
    if ticks > 0:
        return float(ticks * reel.tick)
    return timeline.usual_gap or (float(1 / rate) if rate else _LAST_RESORT_SECONDS)


def _distrusts(reel: Reel, raw: Ticks) -> bool:
    container = reel.container.format.name
    if container in _SPARSE:
        return bool((raw == NO_TIME).any())
    reorders = reel.codec in {"h264", "hevc"} and reel.stream.codec_context.has_b_frames
    return container in _NO_REORDER and bool(reorders or (raw == NO_TIME).any())


def _decoded_times(reel: Reel, raw: Ticks, limits: Limits) -> Ticks:
    """The time of every packet's picture, found from the order in which pictures leave the decoder."""
    order = np.asarray(_display_order(reel, len(raw), limits), np.intp)
    given = raw[order]
    rank = np.arange(len(order))
    if reel.container.format.name in _NO_REORDER:
        # The numbers are right as a set: the n-th picture shown has the n-th smallest.
        times: NDArray[np.float64] = np.sort(given).astype(np.float64)
    else:
        known = given != NO_TIME
        if not known.any():
            raise BadVideo("This video says of none of its pictures when it is shown.")
        gap = max(1.0, float(1 / ((reel.stream.average_rate or 25) * reel.tick)))
        nearest = np.searchsorted(rank[known], rank, side="right").clip(1) - 1
        times = given[known][nearest] + (rank - rank[known][nearest]) * gap
    pts = np.full(len(raw), NO_TIME, np.int64)
    pts[order] = np.maximum.accumulate(times).astype(np.int64)
    return pts


def _display_order(reel: Reel, count: int, limits: Limits) -> list[int]:
    """Packet positions in the order their pictures are shown; decodes the whole film once."""
    context = reel.stream.codec_context
    if count * context.width * context.height > limits.max_work:
        raise BadVideo("This video must be decoded whole to be timed, which is more than the limit max_work.")
    order: list[int] = []
    reel.seek(0)
    for position, packet in enumerate(reel.packets()):
        packet.pts = position
        order += [f.pts for f in reel.decode(packet) if f.pts is not None]
    order += [f.pts for f in reel.decode(None) if f.pts is not None]
    if not order:
        raise BadVideo(f"None of the pictures in this video could be decoded (codec {reel.codec}).")
    return list(dict.fromkeys(order))
