"""The tasks of a worker, and how the service validates the replies: a worker is never trusted."""

import json
import os
import pickle
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from tools.sandbox.protocol import Bytes, Channel, WorkerMessage
from tools.sandbox.restrictions import ResourceLimits, Restrictions, find_gaps
from tools.video import decoders, still_images
from tools.video.decoders import DecodedFrames
from tools.video.frame import Frame
from tools.video.limits import BadVideo, VideoLimits
from tools.video.orientation import Orientation
from tools.video.probe import ProbedVideo, VideoMetadata, probe_video
from tools.video.subtitles import MAX_CHARACTERS, MAX_CUES, Cue, parse_subtitles, read_subtitles
from tools.video.timeline import Timeline

R_co = TypeVar("R_co", covariant=True)

_TEXT = 1 << 16
_TEXT_PER_FRAME = 256
_BYTES_PER_PACKET = 26
"""Three times of 8 bytes and two marks."""


class WorkerTask(Protocol[R_co]):
    """A picklable piece of work with one file. `max_reply_bytes`: the most that a valid reply may have."""

    @property
    def max_reply_bytes(self) -> int: ...

    def run(self, file: Path) -> WorkerMessage:
        """Do the work, in the worker. Raises BadVideo."""

    def parse_reply(self, message: WorkerMessage) -> R_co:
        """Validate the reply, in the service. Raises ValueError (pydantic's included) for nonsense."""


class _ProbeReply(BaseModel):
    """The reply to `ProbeTask`; the times travel beside it."""

    model_config = ConfigDict(allow_inf_nan=False, strict=True)

    container: str = Field(max_length=100)
    codec: str = Field(max_length=100)
    width: PositiveInt
    height: PositiveInt
    rotation: NonNegativeInt
    duration: float = Field(gt=0)
    frame_count: NonNegativeInt | None
    average_fps: NonNegativeFloat
    real_fps: float
    audio_streams: NonNegativeInt
    subtitle_streams: NonNegativeInt
    bytes: NonNegativeInt
    turns: int = Field(ge=0, le=3)
    mirrored: bool
    aspect: float = Field(gt=0)
    tick: tuple[PositiveInt, PositiveInt]
    restamped: bool
    unreadable_after: float | None
    damaged: bool


@dataclass(frozen=True, slots=True)
class ProbeTask:
    """Open a video. `path`, `id` and `stamp` are what the service knows of it."""

    library: str
    limits: VideoLimits
    path: Path
    id: str
    stamp: tuple[int, int]

    @property
    def max_reply_bytes(self) -> int:
        """See `WorkerTask`."""
        return _TEXT + _BYTES_PER_PACKET * (self.limits.max_frames + 1)

    def run(self, file: Path) -> WorkerMessage:
        """See `WorkerTask`."""
        video = probe_video(file, self.id, self.limits)
        decoders.load_decoder(self.library).check_readable(video)
        times, orientation = video.timeline, video.orientation
        facts = {
            **asdict(video.metadata),
            **asdict(orientation),
            "tick": times.tick.as_integer_ratio(),
            "restamped": times.restamped,
            "unreadable_after": video.truncated_at,
            "damaged": video.damaged,
        }
        raw = times.raw if times.restamped else times.raw[:0]
        columns = (times.pts, raw, times.dts, times.key, times.shown)
        return WorkerMessage(json.dumps(facts).encode(), [column.view(np.uint8) for column in columns])

    def parse_reply(self, message: WorkerMessage) -> ProbedVideo:
        """See `WorkerTask`."""
        facts = _ProbeReply.model_validate_json(message.text)
        pts, raw, dts, key, shown = message.buffers
        times = _timeline(pts, raw if facts.restamped else None, dts, key, shown, Fraction(*facts.tick))
        return ProbedVideo(
            path=self.path,
            id=self.id,
            metadata=VideoMetadata(**facts.model_dump(include=set(VideoMetadata.__dataclass_fields__))),
            timeline=times,
            orientation=Orientation(facts.turns, facts.mirrored, facts.aspect),
            limits=self.limits,
            truncated_at=facts.unreadable_after,
            damaged=facts.damaged,
            stamp=self.stamp,
        )


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """Decode pictures of a video that was probed before."""

    library: str
    video: ProbedVideo
    wanted: Sequence[int]
    side: int

    @property
    def max_reply_bytes(self) -> int:
        """See `WorkerTask`."""
        return _TEXT + len(self.wanted) * (self.picture + _TEXT_PER_FRAME)

    @property
    def picture(self) -> int:
        """Bytes that one picture may have."""
        return 3 * self.side * min(self.side, max(self.video.metadata.width, self.video.metadata.height))

    def run(self, file: Path) -> WorkerMessage:
        """See `WorkerTask`."""
        reading = decoders.load_decoder(self.library).decode(replace(self.video, path=file), self.wanted, self.side)
        frames = list(reading.frames.items())
        said = _DecodeReply(
            frames=[(position, frame.time, frame.height, frame.width) for position, frame in frames],
            damaged=sorted(reading.damaged),
            exhausted=reading.exhausted,
        )
        return WorkerMessage(said.model_dump_json().encode(), [frame.image.reshape(-1) for _, frame in frames])

    def parse_reply(self, message: WorkerMessage) -> DecodedFrames:
        """See `WorkerTask`."""
        said = _DecodeReply.model_validate_json(message.text)
        wanted = set(self.wanted)
        frames: dict[int, Frame] = {}
        for (position, time, height, width), pixels in zip(said.frames, message.buffers, strict=True):
            if position not in wanted or max(height, width) > self.side:
                raise ValueError("a picture that nobody asked for")
            frames[position] = Frame(time, pixels.reshape(height, width, 3))
        return DecodedFrames(frames, frozenset(said.damaged) & frames.keys(), said.exhausted)


@dataclass(frozen=True, slots=True)
class SubtitlesTask:
    """Read a video's subtitles, or those of a text in their format."""

    video: ProbedVideo
    beside: str | None

    @property
    def max_reply_bytes(self) -> int:
        """See `WorkerTask`."""
        return _TEXT + MAX_CUES * (4 * MAX_CHARACTERS + _TEXT_PER_FRAME)

    def run(self, file: Path) -> WorkerMessage:
        """See `WorkerTask`."""
        video = replace(self.video, path=file)
        cues = read_subtitles(video) if self.beside is None else parse_subtitles(self.beside, video.metadata.duration)
        return WorkerMessage(_SubtitlesReply(cues=list(cues)).model_dump_json().encode())

    def parse_reply(self, message: WorkerMessage) -> tuple[Cue, ...]:
        """See `WorkerTask`."""
        return tuple(Cue(*each) for each in _SubtitlesReply.model_validate_json(message.text).cues)


class _SubtitlesReply(BaseModel):
    """The reply to `SubtitlesTask`."""

    model_config = ConfigDict(allow_inf_nan=False, strict=True)

    cues: list[tuple[NonNegativeFloat, float, str]]


class _DecodeReply(BaseModel):
    """Pictures on their way out of a worker: position, seconds, height and width; their pixels travel beside."""

    model_config = ConfigDict(allow_inf_nan=False, strict=True)

    frames: list[tuple[int, float, PositiveInt, PositiveInt]]
    damaged: list[int]
    exhausted: bool


def _timeline(pts: Bytes, raw: Bytes | None, dts: Bytes, key: Bytes, shown: Bytes, tick: Fraction) -> Timeline:
    """Raises ValueError unless the columns fit together."""
    times = pts.view(np.int64)
    given = times if raw is None else raw.view(np.int64)
    decoded = dts.view(np.int64)
    if {len(times)} != {len(each) for each in (given, decoded, key, shown)}:
        raise ValueError("columns of different lengths")
    return Timeline(times, given, decoded, key != 0, shown != 0, tick)


_TEXT_PER_PICTURE = 256


@dataclass(frozen=True, slots=True)
class ImagesTask:
    """Decode stills by number, longest side at most `side` pixels; None: look at their headers only."""

    pictures: Mapping[int, bytes]
    side: int | None
    limits: VideoLimits

    @property
    def max_reply_bytes(self) -> int:
        """See `WorkerTask`."""
        return _TEXT + len(self.pictures) * (3 * (self.side or 0) ** 2 + _TEXT_PER_PICTURE)

    def run(self, _: Path) -> WorkerMessage:
        """See `WorkerTask`."""
        if self.side is None:
            still_images.check_images(self.pictures, self.limits)
        images = {} if self.side is None else still_images.decode_images(self.pictures, self.side, self.limits)
        said = _ImagesReply(images=[(number, *image.shape[:2]) for number, image in images.items()])
        return WorkerMessage(said.model_dump_json().encode(), [image.reshape(-1) for image in images.values()])

    def parse_reply(self, message: WorkerMessage) -> dict[int, NDArray[np.uint8]]:
        """See `WorkerTask`."""
        said, side = _ImagesReply.model_validate_json(message.text), self.side or 0
        images = {}
        for (number, height, width), pixels in zip(said.images, message.buffers, strict=True):
            if max(height, width) > side:
                raise ValueError("a picture that nobody asked for")
            images[number] = pixels.reshape(height, width, 3)
        if side and images.keys() != self.pictures.keys():
            raise ValueError("other pictures than were asked for")
        return images


class _ImagesReply(BaseModel):
    """Stills on their way out of a worker: number, height and width; their pixels travel beside."""

    model_config = ConfigDict(strict=True)

    images: list[tuple[int, PositiveInt, PositiveInt]]


_FROM_THE_SERVICE = 1 << 40
_LONGEST = 1000


class TaskRequest(NamedTuple):
    """What the service sends a worker, pickled: the worker can trust the service."""

    task: WorkerTask[object]
    allowance: ResourceLimits


class TaskFailure(BaseModel):
    """Why there is no answer. bad: in words for the caller; memory: too little; error: for the log."""

    failed: Literal["bad", "memory", "error"]
    words: str = ""


def run_task(stream: socket.socket, video: int, restrictions: Restrictions) -> None:
    """Run one task in a worker and send the reply."""
    line = Channel(stream)
    order: TaskRequest = pickle.loads(line.receive(_FROM_THE_SERVICE).text)
    restrictions.apply(order.allowance, video)
    line.send(_answer(order, Path(f"/dev/fd/{video}")))


def _answer(order: TaskRequest, file: Path) -> WorkerMessage:
    try:
        return order.task.run(file)
    except BadVideo as bad:
        failed = TaskFailure(failed="bad", words=str(bad))
    except MemoryError:
        failed = TaskFailure(failed="memory")
    except Exception as error:
        failed = TaskFailure(failed="error", words=f"{type(error).__name__}: {error}"[:_LONGEST])
    return WorkerMessage(failed.model_dump_json().encode())


class SandboxReport(BaseModel):
    """What confines workers on this machine, and what is still possible all the same."""

    means: tuple[str, ...]
    open: tuple[str, ...]


def try_restrictions(restrictions: Restrictions, allowance: ResourceLimits, video: int) -> SandboxReport:
    """Apply the restrictions to this process and report what still works."""
    parent = os.getppid()
    means = restrictions.apply(allowance, video)
    return SandboxReport(means=means, open=find_gaps(allowance, parent))
