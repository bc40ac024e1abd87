"""A picture and the second it was shown at."""

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray


def fit_size(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height in pixels with the longest side at most `side`; never larger than given."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


_SMALL = 128 * 128  # pixels


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A picture as a file. `kind` is its media type."""

    kind: Literal["image/jpeg", "image/png"]
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture; its pixels are read-only because caches share them.

    `time` is the presentation time in seconds since the first picture of the video, of the picture
    really decoded. `image` is (height, width, 3) RGB. `side` is the longer of height and width.
    """

    time: float
    image: NDArray[np.uint8]
    side: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        view = self.image.view()
        view.flags.writeable = False
        object.__setattr__(self, "image", view)
        object.__setattr__(self, "side", max(view.shape[:2]))

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.image.shape[0])

    def jpeg(self, quality: int = 90) -> bytes:
        """The picture as a JPEG file; quality 1 to 100."""
        return self._encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)

    def file(self) -> ImageFile:
        """The picture as a file for a model: a PNG if it is small, else a JPEG.

        JPEG halves the resolution of colours and works in blocks of 8 pixels. In a small picture that changes what a
        model sees: the demo model's option probabilities at 84 pixels moved by up to 0.67.
        """
        if self.width * self.height <= _SMALL:
            return ImageFile("image/png", self._encoded(".png"))
        return ImageFile("image/jpeg", self.jpeg())

    def resized(self, side: int) -> "Frame":
        """The same picture with its longest side at most `side` pixels; never enlarged."""
        size = fit_size(self.width, self.height, side)
        if size == (self.width, self.height):
            return self
        return Frame(self.time, np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA), np.uint8))

    def cropped(self, left: float, top: float, right: float, bottom: float) -> "Frame":
        """The part inside a box given as fractions of width and height, at least one pixel.

        Raises ValueError unless 0 <= left < right <= 1 and 0 <= top < bottom <= 1.
        """
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError("a box needs 0 <= left < right <= 1 and 0 <= top < bottom <= 1")
        x, y = min(int(left * self.width), self.width - 1), min(int(top * self.height), self.height - 1)
        x_end, y_end = max(x + 1, round(right * self.width)), max(y + 1, round(bottom * self.height))
        return Frame(self.time, np.ascontiguousarray(self.image[y:y_end, x:x_end]))

    def _encoded(self, kind: str, *settings: int) -> bytes:
        done, data = cv2.imencode(kind, cv2.cvtColor(self.image, cv2.COLOR_RGB2BGR), settings)
        if not done:
            raise ValueError(f"cannot encode a picture of shape {self.image.shape} as {kind}")
        return data.tobytes()


def frame_sides(side: int, least: int) -> tuple[int, ...]:
    """Sides in pixels, largest first, each three quarters of the one before: what a frame may be shrunk to."""
    sizes = [side]
    while sizes[-1] * 3 // 4 >= least:
        sizes.append(sizes[-1] * 3 // 4)
    return tuple(sizes)
