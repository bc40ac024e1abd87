"""What pictures cost, in prompt tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from agents.engine import Picture
from agents.engines.remote.packing import Shown
from agents.profiles import Price


@dataclass(frozen=True, slots=True)
class Tariff:
    """Upper bounds. `label` is for the words before a picture.

    `second` is for those that tell one second of a clip, and `seconds` for all around them: 0 where none are needed.
    `factor` is by how much a prompt was once dearer than all this.
    """

    image: Price
    video: Price | None = None
    label: int = 0
    second: int = 0
    seconds: int = 0
    factor: float = 1.0

    def frame(self, side: int) -> int:
        """One frame as a picture, with the words before it."""
        return ceil(self.factor * (self.image.tokens(side) + self.label))

    def tokens(self, shown: Shown) -> int:
        """Something that is shown, with the words before it."""
        if isinstance(shown, Picture):
            return self.frame(shown.frame.side)
        video, frames = self.video or self.image, len(shown.pictures)
        return ceil(self.factor * (video.tokens(shown.pictures[0].frame.side, frames) + self.words(frames)))

    def total(self, shown: Sequence[Shown]) -> int:
        """All that is shown. Frames are counted by size: there are many, of one size or two."""
        sides = Counter(each.frame.side for each in shown if isinstance(each, Picture))
        clips = sum(self.tokens(each) for each in shown if not isinstance(each, Picture))
        return clips + sum(count * self.frame(side) for side, count in sides.items())

    def words(self, frames: int) -> int:
        """The words before a clip of so many frames."""
        return self.second * frames + self.seconds

    def dearer(self, factor: float) -> Tariff:
        """Pictures cost more than was thought."""
        return replace(self, factor=self.factor * max(1.0, factor))


def dearest(price: Price | None, tokens: int, side: int, frames: int = 1) -> Price:
    """A price under which so many frames of that side cost no less than was measured."""
    if price is None:
        return Price(each=max(1, -(-tokens // frames)))
    factor = max(1.0, tokens / price.tokens(side, frames))
    return price.model_copy(update={"factor": price.factor * factor})
