"""Probe a video file: its metadata, the time of every frame, and its orientation."""

import hashlib
import itertools
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Discard
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from tools.video.container import VideoContainer, display_matrix, open_container, path_or_descriptor
from tools.video.limits import BadVideo, VideoLimits
from tools.video.orientation import Orientation
from tools.video.timeline import NO_TIME, Ticks, Timeline

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
class PacketScan:
    """A timeline, the second its last picture ends (since the first one), and whether reading failed."""

    timeline: Timeline
    end: float
    damaged: bool

    @classmethod
    def read(cls, opened: VideoContainer, limits: VideoLimits) -> "PacketScan":
        """Read every packet without decoding. Raises BadVideo without packets or with too many."""
        columns = _columns(opened, limits)
        raw = np.frombuffer(columns.pts, np.int64)
        damaged = opened.errors > 0
        key = np.frombuffer(columns.key, np.bool_).copy()
        if not key.any():
            key[0] = True
        pts = _decoded_times(opened, raw, limits) if _needs_decoded_times(opened, raw) else raw
        first = int(np.flatnonzero(key)[0])
        # Pictures shown before the first key picture lost their references to whoever cut the file.
        shown = (pts != NO_TIME) & (pts >= pts[first]) & ~np.frombuffer(columns.cut, np.bool_)
        if not shown.any():
            raise BadVideo("This video says of none of its pictures when it is shown.")
        timeline = Timeline(pts, raw, np.frombuffer(columns.dts, np.int64), key, shown, opened.tick)
        last = timeline.last
        return cls(
            timeline, timeline.seconds(last) + _last_frame_seconds(opened, timeline, columns.length[last]), damaged
        )


def _columns(opened: VideoContainer, limits: VideoLimits) -> _Columns:
    columns = _Columns()
    for packet in opened.packets():
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


def _last_frame_seconds(opened: VideoContainer, timeline: Timeline, ticks: int) -> float:
    """Seconds the last picture lasts."""
    rate = opened.stream.average_rate
    if ticks > 0:
        return float(ticks * opened.tick)
    return timeline.usual_gap or (float(1 / rate) if rate else _LAST_RESORT_SECONDS)


def _needs_decoded_times(opened: VideoContainer, raw: Ticks) -> bool:
    container = opened.container.format.name
    if container in _SPARSE:
        return bool((raw == NO_TIME).any())
    reorders = opened.codec in {"h264", "hevc"} and opened.stream.codec_context.has_b_frames
    return container in _NO_REORDER and bool(reorders or (raw == NO_TIME).any())


def _decoded_times(opened: VideoContainer, raw: Ticks, limits: VideoLimits) -> Ticks:
    """The time of every packet's picture, found from the order in which pictures leave the decoder."""
    order = np.asarray(_display_order(opened, len(raw), limits), np.intp)
    given = raw[order]
    rank = np.arange(len(order))
    if opened.container.format.name in _NO_REORDER:
        # The numbers are right as a set: the n-th picture shown has the n-th smallest.
        times: NDArray[np.float64] = np.sort(given).astype(np.float64)
    else:
        known = given != NO_TIME
        if not known.any():
            raise BadVideo("This video says of none of its pictures when it is shown.")
        gap = max(1.0, float(1 / ((opened.stream.average_rate or 25) * opened.tick)))
        nearest = np.searchsorted(rank[known], rank, side="right").clip(1) - 1
        times = given[known][nearest] + (rank - rank[known][nearest]) * gap
    pts = np.full(len(raw), NO_TIME, np.int64)
    pts[order] = np.maximum.accumulate(times).astype(np.int64)
    return pts


def _display_order(opened: VideoContainer, count: int, limits: VideoLimits) -> list[int]:
    """Packet positions in the order their pictures are shown; decodes the whole video once."""
    context = opened.stream.codec_context
    if count * context.width * context.height > limits.max_decoded_pixels:
        raise BadVideo("This video must be decoded whole to be timed, which is more than the limit max_work.")
    order: list[int] = []
    opened.seek(0)
    for position, packet in enumerate(opened.packets()):
        packet.pts = position
        order += [f.pts for f in opened.decode(packet) if f.pts is not None]
    order += [f.pts for f in opened.decode(None) if f.pts is not None]
    if not order:
        raise BadVideo(f"None of the pictures in this video could be decoded (codec {opened.codec}).")
    return list(dict.fromkeys(order))


_TRIES = 8
"""Groups of pictures tried from the start before a video counts as undecodable."""

_SLACK_SECONDS = 0.5
"""How much earlier than promised a video may end without counting as broken off."""


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """Facts about a video: sizes in pixels (upright), duration in seconds, rates in frames per second.

    rotation: degrees counter-clockwise that were applied. real_fps: the lowest rate that can express
    every time stamp (FFmpeg's r_frame_rate); well above average_fps when the rate varies.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation: int
    duration: float
    frame_count: int | None
    average_fps: float
    real_fps: float
    audio_streams: int
    subtitle_streams: int
    bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class ProbedVideo:
    """Everything a decoder needs to find pictures in a file; picklable.

    `id`: the sha256 of the content in hex. `truncated_at`: seconds after which the file breaks off, None if whole.
    `damaged`: the container could not be read everywhere. `stamp`: size and
    modification time, to notice a file that changed under us.
    """

    path: Path
    id: str
    metadata: VideoMetadata
    timeline: Timeline
    orientation: Orientation
    limits: VideoLimits
    truncated_at: float | None
    damaged: bool
    stamp: tuple[int, int]

    def check_unchanged(self) -> None:
        """Raise BadVideo if the file is not the one that was opened."""
        if file_stamp(self.path) != self.stamp:
            raise BadVideo("The file changed after it was opened.")


def file_stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds. Raises BadVideo if there is no such file."""
    try:
        status = os.stat(path_or_descriptor(path))  # noqa: PTH116 - a Path cannot be asked about a descriptor
    except (OSError, ValueError) as error:
        raise BadVideo("There is no file at this path.") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadVideo("This path is not a file.")
    return status.st_size, status.st_mtime_ns


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe_video(path: Path, id_: str, limits: VideoLimits) -> ProbedVideo:
    """Open, check against the limits, read every packet's time and decode one picture. Raises BadVideo."""
    mark = file_stamp(path)
    limits.check_bytes(mark[0])
    with open_container(path, limits) as opened:
        context = opened.stream.codec_context
        limits.check_size(context.width, context.height)
        limits.check_seconds(_header_duration(opened))
        scan = PacketScan.read(opened, limits)
        limits.check_seconds(scan.end)
        first = _first_frame(opened, scan.timeline, limits)
        orientation = Orientation.read(display_matrix(first), float(opened.stream.sample_aspect_ratio or 1))
        broken = _is_truncated(opened, scan)
        promised = _header_duration(opened, scan.timeline.start * float(opened.tick))
        duration = promised if broken else scan.end
        info = _metadata(
            opened, scan.timeline, duration, orientation.display_size(first.width, first.height), orientation, mark[0]
        )
    return ProbedVideo(
        path, id_, info, scan.timeline, orientation, limits, scan.end if broken else None, scan.damaged, mark
    )


def _header_duration(opened: VideoContainer, start: float = 0.0) -> float:
    """Seconds the header promises for the pictures, 0 if it promises nothing.

    A container's own length counts from second 0 of its clock; `start` is where the pictures begin on it.
    """
    if opened.container.format.name == "avi" and opened.stream.frames and opened.stream.average_rate:
        # Of a file cut off FFmpeg guesses a new duration, but still tells how many pictures were written.
        return float(opened.stream.frames / opened.stream.average_rate)
    if opened.stream.duration:
        return float(opened.stream.duration * opened.tick)
    return max(0.0, (opened.container.duration or 0) / av.time_base - start)


def _is_truncated(opened: VideoContainer, scan: PacketScan) -> bool:
    """Whether the pictures end before the header says, and nothing else in the file goes on."""
    slack = max(_SLACK_SECONDS, 3 * scan.timeline.usual_gap)
    start = scan.timeline.start * float(opened.tick)
    promised = _header_duration(opened, start) - slack
    if scan.end >= promised:
        return False
    # Without a length of its own the stream may just be shorter than the sound beside it.
    return bool(opened.stream.duration) or _sound_end(opened) - start < promised


def _sound_end(opened: VideoContainer) -> float:
    """Last second of the sound, which has to be read for it; 0 without sound."""
    last = 0.0
    for other in opened.container.streams.audio:
        other.discard = Discard.default
    if not opened.container.streams.audio or not opened.seek(0):
        return last
    try:
        for packet in opened.container.demux(audio=0):
            if packet.pts is not None and packet.time_base:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except (FFmpegError, ValueError):
        return last
    return last


def _first_frame(opened: VideoContainer, timeline: Timeline, limits: VideoLimits) -> VideoFrame:
    """The first picture that decodes, which proves that some do."""
    edges = [*timeline.keys[: _TRIES + 1].tolist(), len(timeline.pts)]
    for start, end in itertools.islice(itertools.pairwise(edges), _TRIES):
        for frame in _decoded_frames(opened, timeline, start, end):
            limits.check_size(frame.width, frame.height)
            return frame
    if not opened.stream.codec_context.width:
        raise BadVideo(
            f"The pictures in this video have no size, or one beyond the limit max_pixels, {limits.max_pixels}."
        )
    raise BadVideo(f"None of the pictures in this video could be decoded (codec {opened.codec}).")


def _decoded_frames(opened: VideoContainer, timeline: Timeline, start: int, end: int) -> Iterator[VideoFrame]:
    for position, packet in opened.packets_from(timeline, start):
        if position >= end:
            break
        yield from opened.decode(packet)
    yield from opened.decode(None)


def _metadata(
    opened: VideoContainer,
    timeline: Timeline,
    duration: float,
    size: tuple[int, int],
    orientation: Orientation,
    size_bytes: int,
) -> VideoMetadata:
    average = len(timeline) / duration if duration else 0.0
    return VideoMetadata(
        container=opened.container.format.name,
        codec=opened.codec,
        width=size[0],
        height=size[1],
        rotation=orientation.degrees,
        duration=duration,
        frame_count=len(timeline),
        average_fps=average,
        real_fps=float(opened.stream.base_rate or average),
        audio_streams=len(opened.container.streams.audio),
        subtitle_streams=len(opened.container.streams.subtitles),
        bytes=size_bytes,
    )
