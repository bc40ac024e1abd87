"""What happens is written down in order, many changes at a time, and not lost while the records are down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.records import KeyRecord, Records, RecordsDown
from app.runs.book import Book
from app.runs.changes import Change

pytestmark = pytest.mark.anyio


class Fallible(Records):
    """Records that are down while they are told to be, slow if they are told to be, and count transactions."""

    down = False
    slow = 0.0
    written = 0

    async def write(self, work):  # type: ignore[no-untyped-def]
        await asyncio.sleep(self.slow)
        if self.down:
            raise RecordsDown("down")
        self.written += 1
        return await super().write(work)


def note(name: str) -> Change:
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
async def book(records: Fallible) -> AsyncIterator[Book]:
    book = Book(records, 0.05)
    book.open()
    yield book
    await book.close()


async def names(records: Records) -> list[str]:
    return await records.read(lambda session: list(session.scalars(select(KeyRecord.id).order_by(KeyRecord.id))))


async def test_many_changes_are_one_transaction(records: Fallible, book: Book) -> None:
    for number in range(100):
        book.put(note(f"{number:03}"))
    await asyncio.sleep(0)
    assert records.written == 0
    await book.flush()
    assert records.written == 1
    assert len(await names(records)) == 100


async def test_a_change_is_written_without_being_asked_for(records: Fallible, book: Book) -> None:
    book.put(note("a"))
    async with asyncio.timeout(10):
        while not await names(records):
            await asyncio.sleep(0.01)


async def test_who_asks_waits_for_what_is_just_being_written(records: Fallible, book: Book) -> None:
    records.slow = 0.2
    book.put(note("a"))
    first = asyncio.ensure_future(book.flush())
    await asyncio.sleep(0.1)
    await book.flush()
    assert await names(records) == ["a"]
    await first


async def test_who_is_in_no_hurry_waits_for_others(records: Fallible, book: Book) -> None:
    book.put(note("a"))
    patient = asyncio.ensure_future(book.flush(hurry=False))
    await asyncio.sleep(0.01)
    book.put(note("b"))
    await patient
    assert records.written == 1
    assert await names(records) == ["a", "b"]


async def test_nothing_is_lost_while_the_records_are_down(records: Fallible, book: Book) -> None:
    records.down = True
    book.put(note("a"))
    with pytest.raises(RecordsDown):
        await book.flush()
    book.put(note("b"))
    records.down = False
    async with asyncio.timeout(10):
        while len(await names(records)) < 2:
            await asyncio.sleep(0.01)


async def test_a_wrong_change_takes_no_other_with_it(
    records: Fallible, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    for change in (note("a"), fail, note("b")):
        book.put(change)
    await book.flush()
    assert await names(records) == ["a", "b"]
    assert "could not be written" in caplog.text


async def test_the_end_writes_what_is_left(records: Fallible) -> None:
    book = Book(records, 60.0)
    book.open()
    book.put(note("a"))
    await book.close()
    assert await names(records) == ["a"]
