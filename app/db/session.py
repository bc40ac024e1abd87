"""Opens the database and runs transactions off the event loop: one function, one transaction."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import uniform
from time import monotonic, sleep
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db.tables import Base

SCHEMA_VERSION = 1
"""Version of the schema. Increase it with every change but a new table, which `create_all` can make."""


class WrongSchemaVersion(Exception):
    """The database has tables of another schema version."""


class VersionRecord(Base):
    """One row: the schema of all tables."""

    __tablename__ = "version"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    version: Mapped[int] = mapped_column(default=SCHEMA_VERSION)


def prepare_tables(engine: Engine) -> None:
    """Create missing tables and record the schema version. Raises WrongSchemaVersion, having changed nothing."""
    with engine.begin() as connection:
        VersionRecord.__table__.create(connection, checkfirst=True)  # type: ignore[attr-defined]
        with Session(connection) as session:
            found = session.scalar(select(VersionRecord.version))
            _check_version(found)
            Base.metadata.create_all(connection)
            if found is None:
                session.add(VersionRecord())
                session.flush()


def _check_version(found: int | None) -> None:
    if found is None or found == SCHEMA_VERSION:
        return
    if found > SCHEMA_VERSION:
        advice = "Upgrade Second Look"
    else:
        advice = "Go on with the version that wrote them, or start with a new database"
    raise WrongSchemaVersion(
        f"The records have schema version {found}, and this Second Look knows version {SCHEMA_VERSION}. "
        f"{advice}; SECONDLOOK_RECORDS names the database."
    )


T = TypeVar("T")
Transaction = Callable[[Session], T]
_PAUSE, _LONGEST_PAUSE = 0.005, 0.3
"""Seconds before a transaction is tried again, the first time and at most."""
_LOG = logging.getLogger("secondlook")
_UNAVAILABLE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_READONLY")
_CONFLICTS = frozenset({"40001", "40P01"})
"""SQLSTATE of a serialization failure and of a deadlock: the transaction did nothing and may be tried again."""


class DatabaseUnavailable(Exception):
    """The database cannot be reached or does not answer in time."""


class DatabaseFull(Exception):
    """The database has no room left on its disk."""


class Database:
    """A database with all tables of `Base`. Nothing is opened before `open`.

    `url` is SQLAlchemy's. SQLite needs no server and one host; Postgres (`postgresql+psycopg://…`) takes several.
    `threads`: transactions at once. `wait`: seconds that a transaction waits for others before it is given up.
    """

    def __init__(self, url: str, *, threads: int = 8, wait: float = 10.0) -> None:
        self._url = url
        self._sqlite = url.startswith("sqlite")
        self._wait = wait
        self._threads = threads
        self._engine: Engine | None = None
        self._pool: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Connect and create the tables. Blocks. Raises WrongSchemaVersion, DatabaseUnavailable."""
        engine = self._engine_for(self._url)
        if self._sqlite:
            event.listen(engine, "connect", self._connected)
            event.listen(engine, "begin", _begin)
        try:
            prepare_tables(engine)
        except DBAPIError as error:
            engine.dispose()
            raise _translate(error) from error
        self._engine = engine
        self._pool = ThreadPoolExecutor(self._threads, "records")

    def close(self) -> None:
        """Wait for open transactions, then disconnect. May be opened again."""
        if self._pool and self._engine:
            self._pool.shutdown()
            self._engine.dispose()
        self._pool = self._engine = None

    async def read(self, work: Transaction[T]) -> T:
        """Run a read-only function in one consistent snapshot. Its rows stay usable afterwards."""
        return await self._off_loop(lambda: self.read_sync(work))

    async def write(self, work: Transaction[T]) -> T:
        """Run a function as one transaction, as if it ran alone; when this returns, it lasts.

        The function may run more than once (another's transaction got in the way), so it may change nothing but
        the database. Cancelling the caller does not undo it. Raises what the function raises, and then nothing
        has happened; DatabaseUnavailable, DatabaseFull.
        """
        return await self._off_loop(lambda: self.write_sync(work))

    def read_sync(self, work: Transaction[T]) -> T:
        """`read` for callers that run in a thread already."""
        return self._transact(work, writes=False)

    def write_sync(self, work: Transaction[T]) -> T:
        """`write` for callers that run in a thread already."""
        tries, deadline = 0, monotonic() + self._wait
        while True:
            try:
                return self._transact(work, writes=True)
            except _Conflict:
                pause = uniform(0, min(_PAUSE * 2**tries, _LONGEST_PAUSE))  # so that rivals do not meet again
                tries += 1
                if monotonic() + pause > deadline:
                    raise
                sleep(pause)

    def _transact(self, work: Transaction[T], *, writes: bool) -> T:
        if self._engine is None:
            raise DatabaseUnavailable("The records are not open.")
        options: dict[str, Any] = {"secondlook_writes": writes}
        if not self._sqlite:  # a snapshot is enough for readers, and never has to be taken again
            options["isolation_level"] = "SERIALIZABLE" if writes else "REPEATABLE READ"
        engine = self._engine.execution_options(**options)
        try:
            with Session(engine, expire_on_commit=False) as session, session.begin():
                return work(session)
        except DBAPIError as error:
            raise _translate(error) from error

    def _engine_for(self, url: str) -> Engine:
        try:
            engine = create_engine(url, pool_size=self._threads, **self._options())
        except (ArgumentError, ImportError) as error:
            raise DatabaseUnavailable(
                f"SECONDLOOK_RECORDS does not name a database that can be used: {error}"
            ) from error
        if self._sqlite and engine.url.database:
            Path(engine.url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return engine

    async def _off_loop(self, work: Callable[[], T]) -> T:
        if self._pool is None:
            raise DatabaseUnavailable("The records are not open.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _options(self) -> dict[str, Any]:
        if self._sqlite:
            return {"connect_args": {"timeout": self._wait, "check_same_thread": False}}
        return {"pool_pre_ping": True}

    def _connected(self, connection: sqlite3.Connection, _: object) -> None:
        """WAL: readers do not wait for the writer. FULL: a commit that returned survives a power cut."""
        connection.isolation_level = None  # we begin transactions ourselves, below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """A writer takes SQLite's lock at once: taking it later fails when two have read before."""
    writes = connection.get_execution_options().get("secondlook_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class _Conflict(DatabaseUnavailable):
    """A serialization failure or deadlock with another transaction."""


def _translate(error: DBAPIError) -> Exception:
    """The error as one of ours. What means neither a full nor an unreachable database is a bug and stays as it is."""
    if getattr(error.orig, "sqlstate", None) in _CONFLICTS:
        return _Conflict("The records are being changed by too many at once.")
    name = getattr(error.orig, "sqlite_errorname", None)
    if name == "SQLITE_FULL":
        return DatabaseFull("There is no room left on the disk of the records.")
    operational = isinstance(error, OperationalError) if name is None else name.startswith(_UNAVAILABLE)
    if operational or error.connection_invalidated:
        _LOG.warning("the records cannot be reached: %s", error.orig)
        return DatabaseUnavailable("The records cannot be reached.")
    return error
