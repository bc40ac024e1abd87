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
    def read(cls, reel: VideoContainer, limits: VideoLimits) -> "PacketScan":
        """Read every packet without decoding. Raises BadVideo without packets or with too many."""
        columns = _columns(reel, limits)
        raw = np.frombuffer(columns.pts, np.int64)
        damaged = reel.errors > 0
        key = np.frombuffer(columns.key, np.bool_).copy()
        if not key.any():
            key[0] = True
        pts = _decoded_times(reel, raw, limits) if _needs_decoded_times(reel, raw) else raw
        first = int(np.flatnonzero(key)[0])
        # Pictures shown before the first key picture lost their references to whoever cut the file.
        shown = (pts != NO_TIME) & (pts >= pts[first]) & ~np.frombuffer(columns.cut, np.bool_)
        if not shown.any():
            raise BadVideo("This video says of none of its pictures when it is shown.")
        timeline = Timeline(pts, raw, np.frombuffer(columns.dts, np.int64), key, shown, reel.tick)
        last = timeline.last
        return cls(
            timeline, timeline.seconds(last) + _last_frame_seconds(reel, timeline, columns.length[last]), damaged
        )


def _columns(reel: VideoContainer, limits: VideoLimits) -> _Columns:
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


def _last_frame_seconds(reel: VideoContainer, timeline: Timeline, ticks: int) -> float:
    """Seconds the last picture lasts."""
    rate = reel.stream.average_rate
    if ticks > 0:
        return float(ticks * reel.tick)
    return timeline.usual_gap or (float(1 / rate) if rate else _LAST_RESORT_SECONDS)


def _needs_decoded_times(reel: VideoContainer, raw: Ticks) -> bool:
    container = reel.container.format.name
    if container in _SPARSE:
        return bool((raw == NO_TIME).any())
    reorders = reel.codec in {"h264", "hevc"} and reel.stream.codec_context.has_b_frames
    return container in _NO_REORDER and bool(reorders or (raw == NO_TIME).any())


def _decoded_times(reel: VideoContainer, raw: Ticks, limits: VideoLimits) -> Ticks:
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


def _display_order(reel: VideoContainer, count: int, limits: VideoLimits) -> list[int]:
    """Packet positions in the order their pictures are shown; decodes the whole video once."""
    context = reel.stream.codec_context
    if count * context.width * context.height > limits.max_decoded_pixels:
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

    `id`: the sha256 of the content in hex. `unreadable_after`: seconds after which the file breaks off, None if whole.
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
    with open_container(path, limits) as reel:
        context = reel.stream.codec_context
        limits.check_size(context.width, context.height)
        limits.check_seconds(_header_duration(reel))
        tape = PacketScan.read(reel, limits)
        limits.check_seconds(tape.end)
        first = _first_frame(reel, tape.timeline, limits)
        pose = Orientation.read(display_matrix(first), float(reel.stream.sample_aspect_ratio or 1))
        broken = _is_truncated(reel, tape)
        promised = _header_duration(reel, tape.timeline.start * float(reel.tick))
        duration = promised if broken else tape.end
        info = _metadata(reel, tape.timeline, duration, pose.display_size(first.width, first.height), pose, mark[0])
    return ProbedVideo(path, id_, info, tape.timeline, pose, limits, tape.end if broken else None, tape.damaged, mark)


def _header_duration(reel: VideoContainer, start: float = 0.0) -> float:
    """Seconds the header promises for the pictures, 0 if it promises nothing.

    A container's own length counts from second 0 of its clock; `start` is where the pictures begin on it.
    """
    if reel.container.format.name == "avi" and reel.stream.frames and reel.stream.average_rate:
        # Of a file cut off FFmpeg guesses a new duration, but still tells how many pictures were written.
        return float(reel.stream.frames / reel.stream.average_rate)
    if reel.stream.duration:
        return float(reel.stream.duration * reel.tick)
    return max(0.0, (reel.container.duration or 0) / av.time_base - start)


def _is_truncated(reel: VideoContainer, tape: PacketScan) -> bool:
    """Whether the pictures end before the header says, and nothing else in the file goes on."""
    slack = max(_SLACK_SECONDS, 3 * tape.timeline.usual_gap)
    start = tape.timeline.start * float(reel.tick)
    promised = _header_duration(reel, start) - slack
    if tape.end >= promised:
        return False
    # Without a length of its own the stream may just be shorter than the sound beside it.
    return bool(reel.stream.duration) or _sound_end(reel) - start < promised


def _sound_end(reel: VideoContainer) -> float:
    """Last second of the sound, which has to be read for it; 0 without sound."""
    last = 0.0
    for other in reel.container.streams.audio:
        other.discard = Discard.default
    if not reel.container.streams.audio or not reel.seek(0):
        return last
    try:
        for packet in reel.container.demux(audio=0):
            if packet.pts is not None and packet.time_base:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except (FFmpegError, ValueError):
        return last
    return last


def _first_frame(reel: VideoContainer, timeline: Timeline, limits: VideoLimits) -> VideoFrame:
    """The first picture that decodes, which proves that some do."""
    edges = [*timeline.keys[: _TRIES + 1].tolist(), len(timeline.pts)]
    for start, end in itertools.islice(itertools.pairwise(edges), _TRIES):
        for frame in _decoded_frames(reel, timeline, start, end):
            limits.check_size(frame.width, frame.height)
            return frame
    if not reel.stream.codec_context.width:
        raise BadVideo(
            f"The pictures in this video have no size, or one beyond the limit max_pixels, {limits.max_pixels}."
        )
    raise BadVideo(f"None of the pictures in this video could be decoded (codec {reel.codec}).")


def _decoded_frames(reel: VideoContainer, timeline: Timeline, start: int, end: int) -> Iterator[VideoFrame]:
    for position, packet in reel.packets_from(timeline, start):
        if position >= end:
            break
        yield from reel.decode(packet)
    yield from reel.decode(None)


def _metadata(
    reel: VideoContainer, timeline: Timeline, duration: float, size: tuple[int, int], pose: Orientation, size_bytes: int
) -> VideoMetadata:
    average = len(timeline) / duration if duration else 0.0
    return VideoMetadata(
        container=reel.container.format.name,
        codec=reel.codec,
        width=size[0],
        height=size[1],
        rotation=pose.degrees,
        duration=duration,
        frame_count=len(timeline),
        average_fps=average,
        real_fps=float(reel.stream.base_rate or average),
        audio_streams=len(reel.container.streams.audio),
        subtitle_streams=len(reel.container.streams.subtitles),
        bytes=size_bytes,
    )
