"""What a tool works on: a video or a part of it, its text index, and the limits of a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tools.index.index import Index
from tools.video.frame import Frame
from tools.video.sampling import SampleWindow, Span
from tools.video.source import VideoSource


@dataclass(frozen=True, slots=True)
class ViewLimits:
    """How much one tool call may show or find.

    `frames`: most frames, evenly spread at `fps` frames a second (0: always as many as allowed). `tokens`: most tokens
    for them (0: no limit). `min_seconds`: shortest range; shorter ones are widened. `on_excess`: whether a call that
    asks for more is shrunk or refused. `hits`: entries found where the call names no number. `weak_score`: score below
    which a hit is weak. `min_relative_score`: hits below this part of the best score are left out. `include_speech`:
    whether a search adds what is said in the clips that it finds. `max_facts`: most facts that one call returns.
    """

    frames: int = 16
    fps: float = 2.0
    tokens: int = 0
    min_seconds: float = 1.0
    on_excess: Literal["shrink", "refuse"] = "shrink"
    hits: int = 8
    weak_score: float = 0.3
    min_relative_score: float = 0.0
    include_speech: bool = False
    max_facts: int = 300


@dataclass(frozen=True, slots=True)
class RecognizedText:
    """A line of writing in a picture: what it says, how sure the reader is in [0, 1]."""

    text: str
    score: float


class TextReader(Protocol):
    """Reads writing in pictures. Blocks."""

    def read(self, frame: Frame) -> Sequence[RecognizedText]:
        """All lines of writing, from top to bottom."""


class Detector(Protocol):
    """Finds things by their names in pictures. Blocks."""

    def find(self, frame: Frame, targets: Sequence[str]) -> dict[str, int]:
        """How many of each target are seen."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """A video or a part of it, and its index.

    `frame_sizes`: longest sides in pixels at which frames can be shown, and their tokens, largest first. `level`:
    seconds of the finest clips of the index. `text_reader` and `detector` are extras: None where not installed.
    """

    video: VideoSource
    span: Span
    index: Index
    limits: ViewLimits = ViewLimits()
    frame_sizes: tuple[tuple[int, int], ...] = ((448, 256),)
    level: float = 10.0
    text_reader: TextReader | None = None
    detector: Detector | None = None

    def frames(self, moments: Sequence[SampleWindow], side: int) -> tuple[Frame, ...]:
        """Frames for these moments. Blocks. Raises BadVideo."""
        return self.video.get_frames(moments, side).frames

    @property
    def indexed(self) -> bool:
        """Whether anything is known of this part of the video in words."""
        return bool(self.index.lines(self.span))
