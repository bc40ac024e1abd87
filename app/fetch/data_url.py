"""Videos and pictures that are written out in a data: URL."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from app.errors import BadRequest, TooLarge

_HEAD = re.compile(r"data:([a-z]+/[a-z0-9.+-]+)?((?:;[a-z0-9-]+=[^;,]*)*)(;base64)?,", re.IGNORECASE | re.ASCII)
VIDEO = re.compile(r"video/[a-z0-9.+-]+|application/(?:octet-stream|mp4|ogg|x-matroska)", re.IGNORECASE | re.ASCII)
PICTURES = re.compile(r"image/(?:png|jpe?g|webp|gif|bmp|x-ms-bmp)", re.IGNORECASE | re.ASCII)
_LONGEST_HEAD = 1024


def decode(url: str, largest: int, kinds: re.Pattern[str] = VIDEO) -> bytes:
    """The content of a data: URL in base64, of certain types; blocks for large ones. Raises BadRequest, TooLarge."""
    head = _HEAD.match(url[:_LONGEST_HEAD])
    if head is None or not head[3]:
        raise BadRequest("Write a data: URL as data:video/mp4;base64,…", code="invalid_url")
    if not kinds.fullmatch(head[1] or ""):
        what = "video" if kinds is VIDEO else "picture"
        raise BadRequest(f"A data: URL of type {head[1] or 'text/plain'} is no {what}.", code="invalid_url")
    written = url[head.end() :]
    # Checked before it is decoded, so that decoding cannot take much more memory, and after, to the byte.
    if len(written) > 4 * (largest + 3):
        raise _too_large(largest)
    try:
        data = base64.b64decode(unquote_to_bytes(written) if "%" in written else written, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("What the data: URL holds is not base64.", code="invalid_url") from None
    if len(data) > largest:
        raise _too_large(largest)
    return data


def _too_large(largest: int) -> TooLarge:
    return TooLarge(f"It is larger than {largest} bytes, the most that a data: URL may hold.")
