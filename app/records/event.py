"""The table of what happened in runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.records.base import Base


class EventRecord(Base):
    """One event of a run; `seq` counts them from 1. `choice` is the answer that it belongs to, if there are several."""

    __tablename__ = "run_events"

    run: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    choice: Mapped[int]
    data: Mapped[dict[str, Any]]
