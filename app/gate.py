"""How many runs may work at once, and the end of a run whose client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.types import Receive

from app.errors import Busy, Gone

T = TypeVar("T")


class Gate:
    """Lets at most `limit` runs in. Who comes later is told so at once, which beats waiting in the dark."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold one of the places. Raises Busy if all are taken."""
        if self.running >= self.limit:
            raise Busy(f"{self.limit} questions are being answered, as many as may be at once. Try again soon.")
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Await some work; cancel it and raise Gone when the client hangs up. The body must have been read."""
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((task, left), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone("The client left.")
        return task.result()
    finally:
        task.cancel()
        left.cancel()
        await asyncio.gather(task, left, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
