"""Decode still pictures: their headers are checked before their pixels are touched."""

from collections.abc import Mapping
from io import BytesIO
from threading import Event

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tools.video.frame import Frame
from tools.video.limits import BadVideo, DecodingStopped, VideoLimits

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def check_image(data: bytes, limits: VideoLimits) -> None:
    """Read the header only. Raises BadVideo for what is no picture, or one beyond the limits."""
    _open_image(data, limits).close()


def decode_image(data: bytes, side: int, limits: VideoLimits) -> NDArray[np.uint8]:
    """The picture upright, (height, width, 3) RGB, on white where it is transparent; the first of an animation.

    A JPEG much larger than `side` pixels comes out smaller, though never below that. Raises BadVideo.
    """
    image = _open_image(data, limits)
    try:
        image.draft("RGB", (side, side))
        upright = ImageOps.exif_transpose(image)
        clear = "transparency" in upright.info or "A" in upright.getbands()
        if not clear:
            return np.asarray(upright.convert("RGB"))
        paper = Image.new("RGBA", upright.size, "white")
        return np.asarray(Image.alpha_composite(paper, upright.convert("RGBA")).convert("RGB"))
    except _BROKEN as error:
        raise BadVideo("This picture is damaged.") from error


def check_images(pictures: Mapping[int, bytes], limits: VideoLimits) -> None:
    """`check_image` for pictures known by their numbers, from 0. Raises BadVideo, naming the picture."""
    for number, data in pictures.items():
        try:
            check_image(data, limits)
        except BadVideo as error:
            raise _image_error(number, error) from error


def decode_images(
    pictures: Mapping[int, bytes], side: int, limits: VideoLimits, stop: Event | None = None
) -> dict[int, NDArray[np.uint8]]:
    """`decode_image` for pictures known by their numbers, from 0, longest side at most `side` pixels.

    Raises BadVideo, naming the picture, and DecodingStopped.
    """
    images = {}
    for number, data in pictures.items():
        if stop is not None and stop.is_set():
            raise DecodingStopped
        try:
            images[number] = Frame(0.0, decode_image(data, side, limits)).resized(side).image
        except BadVideo as error:
            raise _image_error(number, error) from error
    return images


def _image_error(number: int, error: BadVideo) -> BadVideo:
    return BadVideo(f"Picture {number + 1}: {error}")


def _open_image(data: bytes, limits: VideoLimits) -> Image.Image:
    try:
        image = Image.open(BytesIO(data), formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadVideo(f"This picture has more pixels than the limit max_pixels, {limits.max_pixels}.") from error
    except _BROKEN as error:
        raise BadVideo(f"This is no picture that can be read; {', '.join(IMAGE_FORMATS)} can.") from error
    limits.check_size(*image.size)
    return image
