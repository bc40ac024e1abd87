"""The task of decoding pictures that were given one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt

from tools import picture
from tools.limits import Limits
from tools.sandbox.wire import Message

_TEXT = 1 << 16
_TEXT_PER_PICTURE = 256


@dataclass(frozen=True, slots=True)
class Draw:
    """Decode stills by number, longest side at most `side` pixels; None: look at their headers only."""

    pictures: Mapping[int, bytes]
    side: int | None
    limits: Limits

    @property
    def most(self) -> int:
        """See Task."""
        return _TEXT + len(self.pictures) * (3 * (self.side or 0) ** 2 + _TEXT_PER_PICTURE)

    def do(self, _: Path) -> Message:
        """See Task."""
        if self.side is None:
            picture.check_all(self.pictures, self.limits)
        images = {} if self.side is None else picture.decode_all(self.pictures, self.side, self.limits)
        said = _Drawn(images=[(number, *image.shape[:2]) for number, image in images.items()])
        return Message(said.model_dump_json().encode(), [image.reshape(-1) for image in images.values()])

    def read(self, message: Message) -> dict[int, NDArray[np.uint8]]:
        """See Task."""
        said, side = _Drawn.model_validate_json(message.text), self.side or 0
        images = {}
        for (number, height, width), pixels in zip(said.images, message.buffers, strict=True):
            if max(height, width) > side:
                raise ValueError("a picture that nobody asked for")
            images[number] = pixels.reshape(height, width, 3)
        if side and images.keys() != self.pictures.keys():
            raise ValueError("other pictures than were asked for")
        return images


class _Drawn(BaseModel):
    """Stills on their way out of a worker: number, height and width; their pixels travel beside."""

    model_config = ConfigDict(strict=True)

    images: list[tuple[int, PositiveInt, PositiveInt]]
