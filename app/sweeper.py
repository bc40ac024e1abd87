"""What is done again and again while the service lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger("secondlook")


async def sweep(seconds: float, *works: Callable[[], Awaitable[None]]) -> None:
    """Do some works, one after another, now and then every so many seconds. What fails is logged and tried again."""
    while True:
        for work in works:
            try:
                await work()
            except Exception:
                _LOG.exception("sweeping failed")
        await asyncio.sleep(seconds)
