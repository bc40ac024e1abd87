"""What an index holds: entries of text about seconds of a video, and the clips that captions describe."""

import math
from dataclasses import dataclass
from typing import Literal

from tools.video.sampling import Span

EntrySource = Literal["caption", "subtitle", "ocr"]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A line of text about the seconds from `start` to `end` of a video.

    `id` names it within its video: c:10:37 is the caption of the 38th clip of ten seconds, s:4 the fifth subtitle.
    `level` is the length of its clip in seconds, 0 for what belongs to no clip.
    """

    id: str
    start: float
    end: float
    text: str
    source: EntrySource = "caption"
    level: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit(IndexEntry):
    """A line that was found. `score` in [0, 1]: how near it is to what was asked for, by this index's measure."""

    score: float = 0.0


LEVEL_FACTORS = (1, 6, 60, 360)
"""How many of the finest clips each level's clips are as long as: 10 s, a minute, 10 minutes, an hour."""
_TAIL = 0.1
"""Part of a clip: a shorter rest at the end of the video belongs to the clip before it."""


@dataclass(frozen=True, slots=True)
class VideoClip:
    """One clip. `level` is the usual length of clips like it, in seconds; `number` counts them from 0."""

    level: float
    number: int
    span: Span

    @property
    def id(self) -> str:
        """Names the clip within its video, always the same: c:10:37 is the 38th clip of ten seconds."""
        return f"c:{self.level:g}:{self.number}"


def split_into_clips(duration: float, level: float, span: Span | None = None) -> tuple[VideoClip, ...]:
    """All clips of a level, in seconds, that overlap a span of a video of so many seconds; none is left out.

    Raises ValueError unless both are above 0 and finite.
    """
    if not (0 < level < math.inf and 0 < duration < math.inf):
        raise ValueError("a level and a duration are seconds above 0")
    count = max(1, math.ceil(duration / level - _TAIL))
    first = 0 if span is None else min(int(span.start / level), count - 1)
    last = count if span is None else min(max(math.ceil(span.end / level), 1), count)
    return tuple(_clip(duration, level, number, count) for number in range(first, max(last, first + 1)))


def clip_levels(duration: float, finest: float) -> tuple[float, ...]:
    """The levels that a video is long enough for, in seconds, finest first; the last one holds it in few clips."""
    return tuple(finest * times for times in LEVEL_FACTORS if times == 1 or duration > finest * times)


def _clip(duration: float, level: float, number: int, count: int) -> VideoClip:
    end = duration if number == count - 1 else (number + 1) * level
    return VideoClip(level, number, Span(number * level, end))
