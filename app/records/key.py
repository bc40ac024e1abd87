"""The table of API keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from app.records.base import Base


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
