"""What frames can be taken from: a video file, or images given one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from tools.video.frame import Frame
from tools.video.sampling import SampleWindow, Span


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """One frame per moment, in the order of the moments; shorter only where `degraded` says why."""

    frames: tuple[Frame, ...]
    degraded: tuple[str, ...] = ()


class VideoSource(Protocol):
    """A source of frames by sample windows. `id` names the content, `span` is all there is, in seconds."""

    @property
    def id(self) -> str:
        """The sha256 of the content in hex."""

    @property
    def span(self) -> Span:
        """From the first second to the end."""

    @property
    def count(self) -> int:
        """How many pictures there are."""

    def time_of(self, rank: int) -> float:
        """When the n-th picture, from 0, is shown."""

    def count_within(self, span: Span) -> int:
        """How many pictures begin within a span, at least one."""

    def get_cached_frames(self, moments: Sequence[SampleWindow], side: int) -> FrameBatch | None:
        """What `get_frames` would return if all of it is at hand; else None. Does not block."""

    def get_frames(self, moments: Sequence[SampleWindow], side: int, stop: Event | None = None) -> FrameBatch:
        """Frames for these moments, longest side at most `side` pixels, never enlarged.

        Raises ValueError for a side below 1, BadVideo if nothing can be decoded, and DecodingStopped soon after `stop`
        is set.
        """
