"""Decode one still picture: its header is checked before its pixels are touched."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tools.limits import BadVideo, Limits

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def check(data: bytes, limits: Limits) -> None:
    """Read the header only. Raises BadVideo for what is no picture, or one beyond the limits."""
    _opened(data, limits).close()


def decode(data: bytes, side: int, limits: Limits) -> NDArray[np.uint8]:
    """The picture upright, (height, width, 3) RGB, on white where it is transparent; the first of an animation.

    A JPEG much larger than `side` pixels comes out smaller, though never below that. Raises BadVideo.
    """
    image = _opened(data, limits)
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


def _opened(data: bytes, limits: Limits) -> Image.Image:
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadVideo(f"This picture has more pixels than the limit max_pixels, {limits.max_pixels}.") from error
    except _BROKEN as error:
        raise BadVideo(f"This is no picture that can be read; {', '.join(_FORMATS)} can.") from error
    limits.check_size(*image.size)
    return image
