"""Which schema the tables have, written into the database, so that no version works on another's tables."""

from __future__ import annotations

from sqlalchemy import Engine, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.records.base import Base

VERSION = 1
"""Raise this with every change that `create_all` cannot make, which is any but a new table."""


class WrongVersion(Exception):
    """The operator has pointed us at tables of another schema."""


class VersionRecord(Base):
    """One row: the schema of all tables."""

    __tablename__ = "version"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    version: Mapped[int] = mapped_column(default=VERSION)


def prepare(engine: Engine) -> None:
    """Make the tables that are missing and stamp them. Raises WrongVersion and then has changed nothing."""
    with engine.begin() as connection:
        VersionRecord.__table__.create(connection, checkfirst=True)  # type: ignore[attr-defined]
        with Session(connection) as session:
            found = session.scalar(select(VersionRecord.version))
            _check(found)
            Base.metadata.create_all(connection)
            if found is None:
                session.add(VersionRecord())
                session.flush()


def _check(found: int | None) -> None:
    if found is None or found == VERSION:
        return
    if found > VERSION:
        advice = "Upgrade Second Look"
    else:
        advice = "Go on with the version that wrote them, or start with a new database"
    raise WrongVersion(
        f"The records have schema version {found}, and this Second Look knows version {VERSION}. "
        f"{advice}; SECONDLOOK_RECORDS names the database."
    )
