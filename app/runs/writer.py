"""Writes runs and their events to the database in batches, in order, off the event loop."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from app.db.session import Database, DatabaseFull, DatabaseUnavailable
from app.db.tables import EventRecord, RunRecord, UsageRecord

Write = Callable[[Session], object]
"""A write in a transaction. It may run more than once, so it must only change rows."""
RowValues = Mapping[str, Any]


class BatchedWrite(ABC):
    """A write that is grouped with others of its kind into one statement."""

    def __call__(self, session: Session) -> None:
        apply_writes(session, [self])

    @abstractmethod
    def add_to(self, batch: WriteBatch) -> None:
        """Add this write to a batch."""


@dataclass(frozen=True, slots=True)
class InsertRun(BatchedWrite):
    """Insert a run. `row` has all columns and is called off the event loop."""

    run: str
    row: Callable[[], RowValues]

    def add_to(self, batch: WriteBatch) -> None:
        batch.runs[self.run] = dict(self.row())


@dataclass(frozen=True, slots=True)
class UpdateRun(BatchedWrite):
    """Set columns of a run."""

    run: str
    values: RowValues

    def add_to(self, batch: WriteBatch) -> None:
        changed = batch.runs if self.run in batch.runs else batch.changed
        changed.setdefault(self.run, {}).update(self.values)


@dataclass(frozen=True, slots=True)
class InsertEvent(BatchedWrite):
    """Insert an event of a run. `row` is called off the event loop."""

    row: Callable[[], RowValues]

    def add_to(self, batch: WriteBatch) -> None:
        batch.events.append(self.row())


@dataclass(frozen=True, slots=True)
class AddUsage(BatchedWrite):
    """Add one run and its tokens to a key's usage of a day."""

    key: str
    day: str
    tokens: int

    def add_to(self, batch: WriteBatch) -> None:
        batch.used[self.key, self.day] += 1
        batch.tokens[self.key, self.day] += self.tokens


@dataclass(slots=True)
class WriteBatch:
    """Rows of new runs, changed columns of older ones, events, and usage of keys."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[RowValues] = field(default_factory=list)
    used: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)

    def write(self, session: Session) -> None:
        """Execute the statements."""
        if self.runs:
            session.execute(insert(RunRecord), list(self.runs.values()))
        for run, values in self.changed.items():
            _count_updated(session, update(RunRecord).where(RunRecord.id == run).values(values))
        if self.events:
            session.execute(insert(EventRecord), self.events)
        for (key, day), runs in self.used.items():
            self._charge(session, key, day, runs)

    def _charge(self, session: Session, key: str, day: str, runs: int) -> None:
        tokens = self.tokens[key, day]
        more = {"runs": UsageRecord.runs + runs, "tokens": UsageRecord.tokens + tokens}
        row = update(UsageRecord).where(UsageRecord.key == key, UsageRecord.day == day)
        if not _count_updated(session, row.values(more)):
            session.execute(insert(UsageRecord), [{"key": key, "day": day, "runs": runs, "tokens": tokens}])


def apply_writes(session: Session, changes: Sequence[Write]) -> None:
    """Apply writes in batches, with the same result as one after another."""
    batch = WriteBatch()
    for change in changes:
        if isinstance(change, BatchedWrite):
            change.add_to(batch)
        else:
            batch.write(session)
            batch = WriteBatch()
            change(session)
    batch.write(session)


def _count_updated(session: Session, statement: Any) -> int:
    """Number of rows that an update changed. The session holds none of them, so it need not be synchronized."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]


_LOG = logging.getLogger("secondlook")
_MAX_WAITING = 10_000
"""Most writes kept while the database is unavailable; beyond that the oldest are dropped."""
_RETRY_SECONDS = 0.1


class WriteQueue:
    """Writes to the database in order and in batches. `pause`: longest wait in seconds for a batch to fill."""

    def __init__(self, records: Database, pause: float) -> None:
        self._records = records
        self._pause = pause
        self._waiting: list[Write] = []
        self._readers: list[asyncio.Future[None]] = []
        self._some = asyncio.Event()
        self._now = asyncio.Event()
        self._busy = False
        self._writing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start the writing task."""
        self._writing = asyncio.create_task(self._write())

    async def close(self) -> None:
        """Write what is queued and stop. Writes that fail are lost; their number is logged."""
        if self._writing is not None:
            try:
                await self.flush()
            except Exception:
                _LOG.exception("%d changes to runs could not be written", len(self._waiting))
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    def put(self, change: Write) -> None:
        """Queue a write. It may run more than once, so it must only change rows."""
        self._waiting.append(change)
        self._some.set()

    async def flush(self, *, hurry: bool = True) -> None:
        """Wait until everything queued so far is committed; without `hurry`, a batch may fill first.

        Raises DatabaseUnavailable or DatabaseFull; the writes stay queued and are tried again.
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
            except (DatabaseUnavailable, DatabaseFull) as error:
                self._waiting = [*changes, *self._waiting][-_MAX_WAITING:]
                _resolve(readers, error)
                await asyncio.sleep(max(self._pause, _RETRY_SECONDS))
                self._some.set()
            else:
                _resolve(readers, None)
            finally:
                self._busy = False

    async def _apply(self, changes: Sequence[Write]) -> None:
        """Write all in one transaction; if that fails, each in its own, so that only the bad write is lost."""
        try:
            await self._records.write(partial(apply_writes, changes=changes))
        except (DatabaseUnavailable, DatabaseFull):
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


def _resolve(readers: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for reader in readers:
        if not reader.done():
            if error is None:
                reader.set_result(None)
            else:
                reader.set_exception(error)
