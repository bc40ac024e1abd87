"""Writes to the database: in order, many at a time, as if one after another, and not lost while it is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from app.db.session import Database, DatabaseUnavailable
from app.db.tables import EventRecord, KeyRecord, RunRecord, UsageRecord
from app.runs.writer import AddUsage, InsertEvent, InsertRun, UpdateRun, Write, WriteQueue, apply_writes

pytestmark = pytest.mark.anyio


class Fallible(Database):
    """Records that are down while they are told to be, slow if they are told to be, and count transactions."""

    down = False
    slow = 0.0
    written = 0

    async def write(self, work):  # type: ignore[no-untyped-def]
        await asyncio.sleep(self.slow)
        if self.down:
            raise DatabaseUnavailable("down")
        self.written += 1
        return await super().write(work)


def note(name: str) -> Write:
    """A row to write."""
    return lambda session: session.add(
        KeyRecord(id=name, tenant="t", note="", scopes=[], quota={}, digest="", created_at=0.0, expires_at=None)
    )


def fail(_: Session) -> None:
    """A change that is wrong."""
    raise ValueError("wrong")


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Fallible]:
    records = Fallible(f"sqlite:///{tmp_path}/r.sqlite")
    records.open()
    yield records
    records.close()


@pytest.fixture
async def book(records: Fallible) -> AsyncIterator[WriteQueue]:
    book = WriteQueue(records, 0.05)
    book.open()
    yield book
    await book.close()


async def names(records: Database) -> list[str]:
    return await records.read(lambda session: list(session.scalars(select(KeyRecord.id).order_by(KeyRecord.id))))


async def test_many_changes_are_one_transaction(records: Fallible, book: WriteQueue) -> None:
    for number in range(100):
        book.put(note(f"{number:03}"))
    await asyncio.sleep(0)
    assert records.written == 0
    await book.flush()
    assert records.written == 1
    assert len(await names(records)) == 100


async def test_a_change_is_written_without_being_asked_for(records: Fallible, book: WriteQueue) -> None:
    book.put(note("a"))
    async with asyncio.timeout(10):
        while not await names(records):
            await asyncio.sleep(0.01)


async def test_who_asks_waits_for_what_is_just_being_written(records: Fallible, book: WriteQueue) -> None:
    records.slow = 0.2
    book.put(note("a"))
    first = asyncio.ensure_future(book.flush())
    await asyncio.sleep(0.1)
    await book.flush()
    assert await names(records) == ["a"]
    await first


async def test_who_is_in_no_hurry_waits_for_others(records: Fallible, book: WriteQueue) -> None:
    book.put(note("a"))
    patient = asyncio.ensure_future(book.flush(hurry=False))
    await asyncio.sleep(0.01)
    book.put(note("b"))
    await patient
    assert records.written == 1
    assert await names(records) == ["a", "b"]


async def test_nothing_is_lost_while_the_records_are_down(records: Fallible, book: WriteQueue) -> None:
    records.down = True
    book.put(note("a"))
    with pytest.raises(DatabaseUnavailable):
        await book.flush()
    book.put(note("b"))
    records.down = False
    async with asyncio.timeout(10):
        while len(await names(records)) < 2:
            await asyncio.sleep(0.01)


async def test_a_wrong_change_takes_no_other_with_it(
    records: Fallible, book: WriteQueue, caplog: pytest.LogCaptureFixture
) -> None:
    for change in (note("a"), fail, note("b")):
        book.put(change)
    await book.flush()
    assert await names(records) == ["a", "b"]
    assert "could not be written" in caplog.text


async def test_the_end_writes_what_is_left(records: Fallible) -> None:
    book = WriteQueue(records, 60.0)
    book.open()
    book.put(note("a"))
    await book.close()
    assert await names(records) == ["a"]


_ROW = {
    "tenant": "t",
    "key": "k",
    "endpoint": "/v1/answers",
    "status": "queued",
    "background": False,
    "instance": "i",
    "request_id": "r",
    "model": "m",
    "request": {},
    "kept": b"kept",
    "digest": None,
    "idempotency_key": None,
    "created_at": 1.0,
    "attempts": 1,
    "tokens": 0,
    "started_at": None,
    "finished_at": None,
    "response": None,
    "error": None,
}


def life(run: str) -> list[Write]:
    """All that happens in a run."""
    return [
        InsertRun(run, lambda: {"id": run, **_ROW}),
        UpdateRun(run, {"status": "running", "started_at": 2.0}),
        InsertEvent(lambda: {"run": run, "seq": 1, "choice": 0, "data": {"event": "noted"}}),
        InsertEvent(lambda: {"run": run, "seq": 2, "choice": 0, "data": {"event": "stopped"}}),
        AddUsage("k", "2026-01-01", 7),
        UpdateRun(run, {"status": "completed", "finished_at": 3.0, "response": {"a": 1}, "tokens": 7, "kept": None}),
    ]


def left(records: Database) -> list[list[dict[str, Any]]]:
    """All rows."""

    def rows(session: Session) -> list[list[dict[str, Any]]]:
        tables = (RunRecord.__table__, EventRecord.__table__, UsageRecord.__table__)
        return [[dict(row._mapping) for row in session.execute(select(table))] for table in tables]

    return records.read_sync(rows)


@pytest.mark.parametrize("size", [1, 2, 5, 18])
def test_together_is_as_one_after_another(records: Database, tmp_path: Path, size: int) -> None:
    changes = [change for run in ("one", "two", "three") for change in life(run)]
    for start in range(0, len(changes), size):
        records.write_sync(partial(apply_writes, changes=changes[start : start + size]))
    other = Database(f"sqlite:///{tmp_path}/other.sqlite")
    other.open()
    for change in changes:
        other.write_sync(change)
    assert left(records) == left(other)
    assert [row["runs"] for row in left(records)[2]] == [3]
    other.close()


def test_sixteen_runs_take_as_many_statements_as_one(records: Database) -> None:
    def statements(changes: Sequence[Write]) -> int:
        counted = 0

        def count(*_: object) -> None:
            nonlocal counted
            counted += 1

        event.listen(Engine, "before_cursor_execute", count)
        try:
            records.write_sync(partial(apply_writes, changes=changes))
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        return counted

    records.write_sync(partial(apply_writes, changes=life("first")))
    one = statements(life("alone"))
    many = statements([change for number in range(16) for change in life(f"run {number}")])
    assert one == many


def test_what_is_no_row_is_done_in_its_turn(records: Database) -> None:
    seen: list[str | None] = []

    def look(session: Session) -> None:
        seen.append(session.scalar(select(RunRecord.status)))

    begun, *rest = life("run")
    records.write_sync(partial(apply_writes, changes=[look, begun, look, *rest, look]))
    assert seen == [None, "queued", "completed"]
