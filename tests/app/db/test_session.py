"""The database: transactions that last, run as if alone, and tables that only their own version touches."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.db.session import SCHEMA_VERSION, Database, DatabaseFull, DatabaseUnavailable, WrongSchemaVersion
from app.db.tables import KeyRecord

pytestmark = pytest.mark.anyio


def key(name: str, note: str = "") -> KeyRecord:
    """A row to write."""
    return KeyRecord(
        id=name, tenant="a", note=note, scopes=[], quota={}, digest="", created_at=time.time(), expires_at=None
    )


def records_in(folder: Path, **options: float) -> Database:
    """An open database in a folder."""
    records = Database(f"sqlite:///{folder / 'deep' / 'records.sqlite'}", **options)  # type: ignore[arg-type]
    records.open()
    return records


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    first = records_in(tmp_path)
    await first.write(lambda session: session.add(key("k")))
    first.close()
    second = records_in(tmp_path)
    found = await second.read(lambda session: session.scalars(select(KeyRecord)).one())
    second.close()
    assert (found.id, found.tenant, found.expires_at) == ("k", "a", None)


async def test_a_failed_transaction_changes_nothing(tmp_path: Path) -> None:
    records = records_in(tmp_path)

    def fail(session: Session) -> None:
        session.add(key("k"))
        session.flush()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await records.write(fail)
    assert await records.read(lambda session: session.scalar(select(KeyRecord))) is None
    records.close()


async def test_writers_at_once_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    one, other = records_in(tmp_path), records_in(tmp_path)
    await one.write(lambda session: session.add(key("k", note="0")))

    def count(session: Session) -> None:
        row = session.get_one(KeyRecord, "k")
        row.note = str(int(row.note) + 1)

    await asyncio.gather(*(records.write(count) for records in (one, other) for _ in range(25)))
    assert await one.read(lambda session: session.get_one(KeyRecord, "k").note) == "50"
    one.close()
    other.close()


async def test_a_database_that_stays_locked_is_down_not_broken(tmp_path: Path) -> None:
    holder, waiter = records_in(tmp_path), records_in(tmp_path, wait=0.05)

    def meanwhile(session: Session) -> None:
        session.add(key("k"))
        session.flush()
        with pytest.raises(DatabaseUnavailable):
            waiter.write_sync(lambda inner: inner.add(key("l")))

    await holder.write(meanwhile)
    holder.close()
    waiter.close()


async def test_a_commit_lasts_and_references_hold(tmp_path: Path) -> None:
    records = records_in(tmp_path)
    pragmas = await records.read(
        lambda session: {
            name: session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    )
    records.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize(("off", "advice"), [(1, "Upgrade"), (-1, "new database")])
async def test_tables_of_another_version_are_refused_and_left_alone(tmp_path: Path, off: int, advice: str) -> None:
    records = records_in(tmp_path)
    await records.write(lambda session: session.execute(text(f"UPDATE version SET version = {SCHEMA_VERSION + off}")))
    await records.write(lambda session: session.execute(text("DROP TABLE keys")))
    records.close()
    with pytest.raises(WrongSchemaVersion, match=f"version {SCHEMA_VERSION + off},.*{advice}"):
        records.open()
    with pytest.raises(DatabaseUnavailable):
        await records.read(lambda session: session.scalar(select(KeyRecord)))


async def test_a_bug_of_ours_stays_one(tmp_path: Path) -> None:
    records = records_in(tmp_path)
    with pytest.raises(OperationalError):
        await records.read(lambda session: session.execute(text("SELECT * FROM nothing")))
    records.close()


async def test_a_full_disk_is_told_apart(tmp_path: Path) -> None:
    records = records_in(tmp_path)

    def fill(session: Session) -> None:
        session.execute(text("PRAGMA max_page_count = 1"))
        session.add(key("k", note="x" * 100_000))
        session.flush()

    with pytest.raises(DatabaseFull):
        await records.write(fill)
    records.close()


@pytest.mark.parametrize("url", ["nonsense", "nonsense://x", "mysql+nodriver://x", "oracle://x"])
async def test_a_url_that_names_no_database_is_told_in_words(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="SECONDLOOK_RECORDS"):
        Database(url).open()


async def test_a_place_that_cannot_be_opened_is_the_operators_matter(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        Database(f"sqlite:///{tmp_path}").open()
