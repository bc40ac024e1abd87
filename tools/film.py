"""What is known of a film before anyone looks: facts, every picture's time, how it is to be turned."""

import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.error import FFmpegError
from av.stream import Discard
from av.video.frame import VideoFrame

from tools.limits import BadVideo, Limits
from tools.pose import Pose
from tools.reel import Reel, handle, matrix, opened
from tools.tape import Tape
from tools.timeline import Timeline

_TRIES = 8
"""Groups of pictures tried from the start before a film counts as undecodable."""

_SLACK_SECONDS = 0.5
"""How much earlier than promised a film may end without counting as broken off."""


@dataclass(frozen=True, slots=True)
class Info:
    """Facts about a film: sizes in pixels (upright), duration in seconds, rates in frames per second.

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
class Film:
    """Everything a decoder needs to find pictures in a file; picklable.

    `id`: the sha256 of the content in hex. `unreadable_after`: seconds after which the file breaks off, None if whole.
    `damaged`: the container could not be read everywhere. `stamp`: size and
    modification time, to notice a file that changed under us.
    """

    path: Path
    id: str
    info: Info
    timeline: Timeline
    pose: Pose
    limits: Limits
    unreadable_after: float | None
    damaged: bool
    stamp: tuple[int, int]

    def check_unchanged(self) -> None:
        """Raise BadVideo if the file is not the one that was opened."""
        if stamp(self.path) != self.stamp:
            raise BadVideo("The file changed after it was opened.")


def stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds. Raises BadVideo if there is no such file."""
    try:
        status = os.stat(handle(path))  # noqa: PTH116 - a Path cannot be asked about a descriptor
    except (OSError, ValueError) as error:
        raise BadVideo("There is no file at this path.") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadVideo("This path is not a file.")
    return status.st_size, status.st_mtime_ns


def digest(path: Path) -> str:
    """The sha256 of a file's content in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe(path: Path, id_: str, limits: Limits) -> Film:
    """Open, check against the limits, read every packet's time and decode one picture. Raises BadVideo."""
    mark = stamp(path)
    limits.check_bytes(mark[0])
    with opened(path, limits) as reel:
        context = reel.stream.codec_context
        limits.check_size(context.width, context.height)
        limits.check_seconds(_promised(reel))
        tape = Tape.read(reel, limits)
        limits.check_seconds(tape.end)
        first = _first_picture(reel, tape.timeline, limits)
        pose = Pose.read(matrix(first), float(reel.stream.sample_aspect_ratio or 1))
        broken = _breaks(reel, tape)
        promised = _promised(reel, tape.timeline.start * float(reel.tick))
        duration = promised if broken else tape.end
        info = _info(reel, tape.timeline, duration, pose.shown(first.width, first.height), pose, mark[0])
    return Film(path, id_, info, tape.timeline, pose, limits, tape.end if broken else None, tape.damaged, mark)


def _promised(reel: Reel, start: float = 0.0) -> float:
    """Seconds the header promises for the pictures, 0 if it promises nothing.

    A container's own length counts from second 0 of its clock; `start` is where the pictures begin on it.
    """
    if reel.container.format.name == "avi" and reel.stream.frames and reel.stream.average_rate:
        # Of a file cut off FFmpeg guesses a new duration, but still tells how many pictures were written.
        return float(reel.stream.frames / reel.stream.average_rate)
    if reel.stream.duration:
        return float(reel.stream.duration * reel.tick)
    return max(0.0, (reel.container.duration or 0) / av.time_base - start)


def _breaks(reel: Reel, tape: Tape) -> bool:
    """Whether the pictures end before the header says, and nothing else in the file goes on."""
    slack = max(_SLACK_SECONDS, 3 * tape.timeline.usual_gap)
    start = tape.timeline.start * float(reel.tick)
    promised = _promised(reel, start) - slack
    if tape.end >= promised:
        return False
    # Without a length of its own the stream may just be shorter than the sound beside it.
    return bool(reel.stream.duration) or _sound_end(reel) - start < promised


def _sound_end(reel: Reel) -> float:
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


def _first_picture(reel: Reel, timeline: Timeline, limits: Limits) -> VideoFrame:
    """The first picture that decodes, which proves that some do."""
    edges = [*timeline.keys[: _TRIES + 1].tolist(), len(timeline.pts)]
    for start, end in itertools.islice(itertools.pairwise(edges), _TRIES):
        for frame in _pictures(reel, timeline, start, end):
            limits.check_size(frame.width, frame.height)
            return frame
    if not reel.stream.codec_context.width:
        raise BadVideo(
            f"The pictures in this video have no size, or one beyond the limit max_pixels, {limits.max_pixels}."
        )
    raise BadVideo(f"None of the pictures in this video could be decoded (codec {reel.codec}).")


def _pictures(reel: Reel, timeline: Timeline, start: int, end: int) -> Iterator[VideoFrame]:
    for position, packet in reel.follow(timeline, start):
        if position >= end:
            break
        yield from reel.decode(packet)
    yield from reel.decode(None)


def _info(reel: Reel, timeline: Timeline, duration: float, size: tuple[int, int], pose: Pose, size_bytes: int) -> Info:
    average = len(timeline) / duration if duration else 0.0
    return Info(
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
