"""The table of what keys have used."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from app.records.base import Base


class UsageRecord(Base):
    """One key on one day (YYYY-MM-DD, UTC): runs that ended, tokens that they read and wrote."""

    __tablename__ = "usage"

    key: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    runs: Mapped[int]
    tokens: Mapped[int]
