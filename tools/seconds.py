"""Seconds as models write them: 83.5, "83.5s", "1:23.5", "00:01:23.5"."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d{1,2}(?:\.\d+)?)")
_PLAIN = re.compile(r"[<(\[]?\s*(-?\d+(?:\.\d+)?)\s*(?:s|sec|secs|seconds?)?\s*[>)\]]?", re.IGNORECASE)


def read(value: Any) -> Any:
    """A number of seconds from a number or from any of those texts; anything else as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    plain = _PLAIN.fullmatch(text)
    return float(plain[1]) if plain else value


def write(seconds: float) -> str:
    """Seconds as we write them for models: at most one decimal place."""
    return f"{round(seconds, 1):g}" if math.isfinite(seconds) else str(seconds)


Seconds = Annotated[float, BeforeValidator(read), Field(allow_inf_nan=False)]
"""A second of the film, on its presentation clock."""
