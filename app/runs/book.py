"""Writes down what happens in runs, in order and many changes at a time, while the runs go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from app.records import Records, RecordsDown, RecordsFull
from app.runs.changes import Change, apply

_LOG = logging.getLogger("secondlook")
_MOST = 10_000
"""Changes held back while the records cannot be written; then the oldest are given up."""
_RETRY_SECONDS = 0.1


class Book:
    """A queue of changes to the records. `pause`: the longest that one waits for others, in seconds."""

    def __init__(self, records: Records, pause: float) -> None:
        self._records = records
        self._pause = pause
        self._waiting: list[Change] = []
        self._readers: list[asyncio.Future[None]] = []
        self._some = asyncio.Event()
        self._now = asyncio.Event()
        self._busy = False
        self._writing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to write."""
        self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what is left and stop. What cannot be written is lost and logged."""
        if self._writing is not None:
            try:
                await self.flush()
            except Exception:
                _LOG.exception("%d changes to runs could not be written", len(self._waiting))
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def put(self, change: Change) -> None:
        """Write this soon, after all that was put before. It may run more than once and make nothing but rows."""
        self._waiting.append(change)
        self._some.set()

    async def flush(self, *, hurry: bool = True) -> None:
        """Wait until all that was put lasts; without `hurry`, let it wait for others first.

        Raises RecordsDown, RecordsFull: it is tried again, but not now.
        """
        if not self._waiting and not self._busy:
            return
        written = asyncio.get_running_loop().create_future()
        self._readers.append(written)
        self._some.set()
        if hurry:
            self._now.set()
        await written

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            if not self._now.is_set():
                await self._linger()
            self._some.clear()
            self._now.clear()
            changes, self._waiting = self._waiting, []
            readers, self._readers = self._readers, []
            self._busy = True
            try:
                if changes:
                    await self._apply(changes)
            except (RecordsDown, RecordsFull) as error:
                self._waiting = [*changes, *self._waiting][-_MOST:]
                _tell(readers, error)
                await asyncio.sleep(max(self._pause, _RETRY_SECONDS))
                self._some.set()
            else:
                _tell(readers, None)
            finally:
                self._busy = False

    async def _apply(self, changes: Sequence[Change]) -> None:
        """All in one transaction; if one of them is wrong, each in its own, so that the others are not lost with it."""
        try:
            await self._records.write(partial(apply, changes=changes))
        except (RecordsDown, RecordsFull):
            raise
        except Exception:
            _LOG.exception("a change to runs could not be written")
            if len(changes) > 1:
                for change in changes:
                    await self._apply([change])

    async def _linger(self) -> None:
        try:
            async with asyncio.timeout(self._pause):
                await self._now.wait()
        except TimeoutError:
            pass


def _tell(readers: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for reader in readers:
        if not reader.done():
            if error is None:
                reader.set_result(None)
            else:
                reader.set_exception(error)
