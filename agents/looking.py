"""Looking off the event loop, for as long as somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from threading import Event

from tools.footage import Footage, Look
from tools.moment import Moment


async def look(footage: Footage, moments: Sequence[Moment], side: int) -> Look:
    """Frames, decoded in a thread unless they are at hand; when this is cancelled, decoding stops. Raises BadVideo."""
    if (known := footage.recall(moments, side)) is not None:
        return known
    stop = Event()
    try:
        return await asyncio.to_thread(footage.look, moments, side, stop)
    finally:
        stop.set()
