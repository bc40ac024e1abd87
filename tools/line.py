"""What an index holds: lines of text, each about some seconds of a film."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["caption", "subtitle", "ocr"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text about the seconds from `start` to `end` of a film.

    `id` names it within its film: c:10:37 is the caption of the 38th clip of ten seconds, s:4 the fifth subtitle.
    `level` is the length of its clip in seconds, 0 for what belongs to no clip.
    """

    id: str
    start: float
    end: float
    text: str
    source: Source = "caption"
    level: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit(Line):
    """A line that was found. `score` in [0, 1]: how near it is to what was asked for, by this index's measure."""

    score: float = 0.0
