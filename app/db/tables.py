"""The tables of the database."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, LargeBinary, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """A table. Times are seconds since 1970, sizes are bytes, JSON is what pydantic dumps in mode "json"."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        float: Double,
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


class KeyRecord(Base):
    """One key. The secret itself is nowhere: only its SHA-256, which is enough for 256 random bits.

    After a rotation the former secret is good until `old_until`. `quota` holds only what differs from the settings.
    """

    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(index=True)
    note: Mapped[str]
    scopes: Mapped[list[str]]
    quota: Mapped[dict[str, Any]]
    digest: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None] = mapped_column(default=None)
    old_digest: Mapped[str | None] = mapped_column(default=None)
    old_until: Mapped[float | None] = mapped_column(default=None)


class UsageRecord(Base):
    """One key on one day (YYYY-MM-DD, UTC): runs that ended, tokens that they read and wrote."""

    __tablename__ = "usage"

    key: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    runs: Mapped[int]
    tokens: Mapped[int]


class BlobRecord(Base):
    """A content. Its name is drawn anew when it is stored, so what is being removed is never stored under it again."""

    __tablename__ = "blobs"

    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    bytes: Mapped[int]
    created_at: Mapped[float]


class FileRecord(Base):
    """A tenant's file. Many of them, of any tenants, may have the same content."""

    __tablename__ = "files"
    __table_args__ = (Index("ix_files_tenant_created_at_id", "tenant", "created_at", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    blob: Mapped[str] = mapped_column(ForeignKey("blobs.name"), index=True)
    filename: Mapped[str]
    purpose: Mapped[str]
    bytes: Mapped[int]
    video: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None] = mapped_column(index=True)


class RunRecord(Base):
    """One run: who asked what, what became of it, what it spent.

    `request` is what was asked without the content of media, `kept` all of it, compressed, while it may have to be
    run again. `digest` is the SHA-256 of the request's body. `instance` is the service process that works on it,
    `tokens` what it has read and written so far.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("tenant", "idempotency_key"),
        Index("ix_runs_tenant_created_at", "tenant", "created_at", "id"),
        Index("ix_runs_key_created_at", "key", "created_at"),
        Index("ix_runs_finished_at", "finished_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    key: Mapped[str]
    endpoint: Mapped[str]
    status: Mapped[str]
    background: Mapped[bool]
    instance: Mapped[str]
    request_id: Mapped[str]
    model: Mapped[str]
    request: Mapped[dict[str, Any]]
    digest: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    created_at: Mapped[float]
    attempts: Mapped[int] = mapped_column(default=1)
    tokens: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[float | None] = mapped_column(default=None)
    finished_at: Mapped[float | None] = mapped_column(default=None)
    response: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    error: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    kept: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True, default=None)


class EventRecord(Base):
    """One event of a run; `seq` counts them from 1. `choice` is the answer that it belongs to, if there are several."""

    __tablename__ = "run_events"

    run: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    choice: Mapped[int]
    data: Mapped[dict[str, Any]]
