"""An opened file and its video stream: the only place that talks to PyAV's demuxer and decoder."""

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tools.video.limits import BadVideo, VideoLimits
from tools.video.timeline import NO_TIME, Timeline

_DEMUXERS = "mov,matroska,avi,mpegts,mpeg,flv,ogg"
"""Containers of videos. Playlists, concat scripts, image lists and network formats open other files: never."""

_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)", re.ASCII)

_SKIPPABLE = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})
"""Codecs whose pictures marked unreferenced are referenced by none (HEVC's may be, by higher layers)."""

_STUCK_SECONDS = 30.0
"""A demuxer that reads this long for one packet is given up."""

_STUMBLES = 16
"""Read errors in a row after which the rest of a file counts as unreadable."""

# PyAV's class takes parameters in its stubs only.
if TYPE_CHECKING:
    VideoPacket = Packet[VideoStream]
else:
    VideoPacket = Packet

SkipFrame = Literal["DEFAULT", "NONREF"]


class VideoContainer:
    """A container and its video stream, decoding on the calling thread. Not safe under threads."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.container = container
        self.stream = stream
        self.codec = stream.codec_context.codec.canonical_name
        self.tick = stream.time_base or Fraction(1, 1000)
        self.errors = 0
        self._pace: SkipFrame = "DEFAULT"

    def packets(self) -> Iterator[VideoPacket]:
        """Packets from here to the end; read errors are counted in `errors` and passed over."""
        stumbles = 0
        while stumbles < _STUMBLES:
            try:
                for packet in self.container.demux(self.stream):
                    stumbles = 0
                    if packet.size and packet.stream_index == self.stream.index:
                        yield packet
                return
            except IndexError:
                # PyAV trips over streams that appear half-way, but only after the last packet.
                return
            except (FFmpegError, ValueError):
                self.errors += 1
                stumbles += 1

    def packets_from(self, timeline: Timeline, start: int) -> Iterator[tuple[int, VideoPacket]]:
        """Positions and packets from position `start` to the end, times corrected where needed.

        Seeking is a hint only: some demuxers land late or early, so the packet itself is looked for, at
        last from the first one. Yields nothing if it cannot be reached.
        """
        raw = int(timeline.raw[start])
        for ticks in dict.fromkeys((raw, int(timeline.dts[start]))):
            if ticks != NO_TIME and raw != NO_TIME and self.seek(ticks):
                packets = self.packets()
                first = _find_packet(packets, raw)
                if first is not None:
                    yield from self._count(timeline, start, itertools.chain((first,), packets))
                    return
        times = (int(timeline.dts[0]), int(timeline.raw[0]))
        if self.seek(min((t for t in times if t != NO_TIME), default=0)):
            yield from self._count(timeline, start, itertools.islice(self.packets(), start, None))

    def _count(
        self, timeline: Timeline, start: int, packets: Iterable[VideoPacket]
    ) -> Iterator[tuple[int, VideoPacket]]:
        for position, packet in enumerate(packets, start):
            if position >= len(timeline.pts):
                return
            if timeline.restamped:
                packet.pts = int(timeline.pts[position])
            yield position, packet

    def seek(self, ticks: int) -> bool:
        """Go to the key packet at or before a time stamp, forgetting decoder state; False if refused."""
        try:
            self.container.seek(ticks, stream=self.stream)
        except (FFmpegError, OverflowError):
            return False
        return True

    def decode(self, packet: VideoPacket | None, needed: bool = True) -> list[VideoFrame]:
        """Pictures that come out, in the order shown; None drains. Damage is counted in `errors`.

        A packet that is not `needed` may be left undecoded if nothing else is decoded from it.
        """
        pace: SkipFrame = "DEFAULT" if needed or self.codec not in _SKIPPABLE else "NONREF"
        if pace != self._pace:
            self.stream.codec_context.skip_frame = self._pace = pace
        try:
            return self.stream.codec_context.decode(packet)
        except FFmpegError:
            self.errors += 1
            return []


@contextmanager
def open_container(path: Path, limits: VideoLimits) -> Iterator[VideoContainer]:
    """Open a video for reading. Raises BadVideo, in plain words, if it cannot be."""
    container = _container(path, limits)
    with container:
        stream = _video_stream(container)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        context = stream.codec_context
        # One thread a video: measured as fast as frame threads here, and requests run side by side anyway.
        context.thread_type = "NONE"
        context.thread_count = 1
        context.options = {"max_pixels": _max_pixels_option(limits)}
        yield VideoContainer(container, stream)


def _find_packet(packets: Iterator[VideoPacket], raw: int) -> VideoPacket | None:
    """The packet with this time stamp, unless a later key packet comes first."""
    for packet in packets:
        if packet.pts == raw:
            return packet
        if packet.is_keyframe and packet.pts is not None and packet.pts > raw:
            return None
    return None


def display_matrix(frame: VideoFrame) -> bytes | None:
    """The display matrix a picture came with."""
    side = frame.side_data.get("DISPLAYMATRIX")
    return bytes(side) if isinstance(side, SideData) else None


def path_or_descriptor(path: Path) -> Path | int:
    """The absolute path; or for /dev/fd/N the descriptor N itself, which can be read where nothing may be opened."""
    if named := _DESCRIPTOR.fullmatch(str(path)):
        return int(named[1])
    return path.absolute()


def _container(path: Path, limits: VideoLimits) -> InputContainer:
    file = path_or_descriptor(path)
    # An absolute path cannot be taken for a protocol ("concat:...").
    url, protocol = (str(file), "file") if isinstance(file, Path) else ("fd:", "fd")
    options = {
        "format_whitelist": _DEMUXERS,
        "protocol_whitelist": protocol,
        "max_pixels": _max_pixels_option(limits),
    }
    if isinstance(file, int):
        os.lseek(file, 0, os.SEEK_SET)
        options["fd"] = str(file)
    try:
        return av.open(url, "r", options=options, timeout=_STUCK_SECONDS, metadata_errors="replace")
    except (FFmpegError, OSError, ValueError) as error:
        raise BadVideo(_open_error(file)) from error


def _max_pixels_option(limits: VideoLimits) -> str:
    """What decoders may allocate for one picture, in pixels: they pad to whole blocks, so the limit and room."""
    return str(2 * limits.max_pixels + 2**16)


def _open_error(path: Path | int) -> str:
    with open(path, "rb", closefd=isinstance(path, Path)) as file:
        file.seek(0)
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "This MP4 file is cut off or damaged: its index (moov) cannot be read."
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "This Matroska or WebM file is cut off or damaged: its header cannot be read."
    return "This is not a video file we can read (MP4, MOV, MKV, WebM, AVI, MPEG, FLV or OGG)."


def _video_stream(container: InputContainer) -> VideoStream:
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not videos:
        kind = "it is audio only" if container.streams.audio else "there is nothing to see in it"
        raise BadVideo(f"This file has no video stream; {kind}.")
    best = container.streams.best("video")
    stream = next((s for s in videos if best is not None and s.index == best.index), videos[0])
    if getattr(stream, "codec_context", None) is None:
        raise BadVideo("This video is in a format (codec) that no decoder here knows.")
    return stream
