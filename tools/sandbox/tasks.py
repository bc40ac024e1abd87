"""What can be asked of a worker, and how its answers are read: never trusting that a worker is still ours."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from tools import decoders
from tools.decoders import Reading
from tools.film import Film, Info, probe
from tools.frame import Frame
from tools.limits import Limits
from tools.pose import Pose
from tools.sandbox.wire import Bytes, Message
from tools.subtitles import MOST_CHARACTERS, MOST_LINES, Cue, hear, read
from tools.timeline import Timeline

R_co = TypeVar("R_co", covariant=True)

_TEXT = 1 << 16
_TEXT_PER_FRAME = 256
_BYTES_PER_PACKET = 26
"""Three times of 8 bytes and two marks."""


class Task(Protocol[R_co]):
    """A picklable piece of work with one file. `most`: bytes that an honest answer may have."""

    @property
    def most(self) -> int: ...

    def do(self, file: Path) -> Message:
        """In the worker. Raises BadVideo."""

    def read(self, message: Message) -> R_co:
        """In the service: the answer, checked. Raises ValueError (pydantic's included) for nonsense."""


class _Facts(BaseModel):
    """A film on its way out of a worker; its times travel beside it."""

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
class Probe:
    """Open a film. `path`, `id` and `stamp` are what the service knows of it."""

    library: str
    limits: Limits
    path: Path
    id: str
    stamp: tuple[int, int]

    @property
    def most(self) -> int:
        """See Task."""
        return _TEXT + _BYTES_PER_PACKET * (self.limits.max_frames + 1)

    def do(self, file: Path) -> Message:
        """See Task."""
        film = probe(file, self.id, self.limits)
        decoders.load(self.library).check(film)
        times, pose = film.timeline, film.pose
        facts = {
            **asdict(film.info),
            **asdict(pose),
            "tick": times.tick.as_integer_ratio(),
            "restamped": times.restamped,
            "unreadable_after": film.unreadable_after,
            "damaged": film.damaged,
        }
        raw = times.raw if times.restamped else times.raw[:0]
        columns = (times.pts, raw, times.dts, times.key, times.shown)
        return Message(json.dumps(facts).encode(), [column.view(np.uint8) for column in columns])

    def read(self, message: Message) -> Film:
        """See Task."""
        facts = _Facts.model_validate_json(message.text)
        pts, raw, dts, key, shown = message.buffers
        times = _timeline(pts, raw if facts.restamped else None, dts, key, shown, Fraction(*facts.tick))
        return Film(
            path=self.path,
            id=self.id,
            info=Info(**facts.model_dump(include=set(Info.__dataclass_fields__))),
            timeline=times,
            pose=Pose(facts.turns, facts.mirrored, facts.aspect),
            limits=self.limits,
            unreadable_after=facts.unreadable_after,
            damaged=facts.damaged,
            stamp=self.stamp,
        )


@dataclass(frozen=True, slots=True)
class Read:
    """Decode pictures of a film that was probed before."""

    library: str
    film: Film
    wanted: Sequence[int]
    side: int

    @property
    def most(self) -> int:
        """See Task."""
        return _TEXT + len(self.wanted) * (self.picture + _TEXT_PER_FRAME)

    @property
    def picture(self) -> int:
        """Bytes that one picture may have."""
        return 3 * self.side * min(self.side, max(self.film.info.width, self.film.info.height))

    def do(self, file: Path) -> Message:
        """See Task."""
        reading = decoders.load(self.library).read(replace(self.film, path=file), self.wanted, self.side)
        frames = list(reading.frames.items())
        said = _Said(
            frames=[(position, frame.time, frame.height, frame.width) for position, frame in frames],
            damaged=sorted(reading.damaged),
            exhausted=reading.exhausted,
        )
        return Message(said.model_dump_json().encode(), [frame.image.reshape(-1) for _, frame in frames])

    def read(self, message: Message) -> Reading:
        """See Task."""
        said = _Said.model_validate_json(message.text)
        wanted = set(self.wanted)
        frames: dict[int, Frame] = {}
        for (position, time, height, width), pixels in zip(said.frames, message.buffers, strict=True):
            if position not in wanted or max(height, width) > self.side:
                raise ValueError("a picture that nobody asked for")
            frames[position] = Frame(time, pixels.reshape(height, width, 3))
        return Reading(frames, frozenset(said.damaged) & frames.keys(), said.exhausted)


@dataclass(frozen=True, slots=True)
class Hear:
    """Read a film's subtitles, or those of a text in their format."""

    film: Film
    beside: str | None

    @property
    def most(self) -> int:
        """See Task."""
        return _TEXT + MOST_LINES * (4 * MOST_CHARACTERS + _TEXT_PER_FRAME)

    def do(self, file: Path) -> Message:
        """See Task."""
        film = replace(self.film, path=file)
        cues = hear(film) if self.beside is None else read(self.beside, film.info.duration)
        return Message(_Cues(cues=list(cues)).model_dump_json().encode())

    def read(self, message: Message) -> tuple[Cue, ...]:
        """See Task."""
        return tuple(Cue(*each) for each in _Cues.model_validate_json(message.text).cues)


class _Cues(BaseModel):
    """Subtitles on their way out of a worker."""

    model_config = ConfigDict(allow_inf_nan=False, strict=True)

    cues: list[tuple[NonNegativeFloat, float, str]]


class _Said(BaseModel):
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
