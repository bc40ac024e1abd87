"""What pictures cost, in prompt tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.engine import Picture
from agents.engines.remote.packing import Shown
from agents.profiles import Price


@dataclass(frozen=True, slots=True)
class Tariff:
    """Upper bounds. `label` is for the words before a picture.

    `second` is for those that tell one second of a clip, and `seconds` for all around them: 0 where none are needed.
    """

    image: Price
    video: Price | None = None
    label: int = 0
    second: int = 0
    seconds: int = 0

    def frame(self, side: int) -> int:
        """One frame as a picture, with the words before it."""
        return self.image.tokens(side) + self.label

    def tokens(self, shown: Shown) -> int:
        """Something that is shown, with the words before it."""
        if isinstance(shown, Picture):
            return self.frame(_side(shown))
        video = self.video or self.image
        return video.tokens(_side(shown.pictures[0]), len(shown.pictures)) + self.words(len(shown.pictures))

    def words(self, frames: int) -> int:
        """The words before a clip of so many frames."""
        return self.second * frames + self.seconds

    def at_least(self, factor: float) -> Tariff:
        """Pictures cost more than was thought."""
        video = self.video and _dearer(self.video, factor)
        return replace(self, image=_dearer(self.image, factor), video=video)


def dearest(price: Price | None, tokens: int, side: int, frames: int = 1) -> Price:
    """A price under which so many frames of that side cost no less than was measured."""
    if price is None:
        return Price(each=max(1, -(-tokens // frames)))
    return _dearer(price, tokens / price.tokens(side, frames))


def _dearer(price: Price, factor: float) -> Price:
    if factor <= 1:
        return price
    return price.model_copy(update={"factor": price.factor * factor})


def _side(picture: Picture) -> int:
    return max(picture.frame.width, picture.frame.height)
