"""The tables of files: what a tenant sees, and the contents behind it, each kept once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.records.base import Base


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
