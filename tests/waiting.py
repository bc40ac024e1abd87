"""Waiting that ends: when a condition holds, when the time is up, or when the work that leads to it has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(holds: Callable[[], object], *work: asyncio.Future[Any], seconds: float = 30.0) -> None:
    """Return when a condition holds. Raises what `work` has failed with meanwhile, or TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():
            for each in work:
                if each.done():
                    each.result()
            await asyncio.sleep(0.002)
