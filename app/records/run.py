"""The table of runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.records.base import Base


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
