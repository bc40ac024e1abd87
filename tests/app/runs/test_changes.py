"""Changes made together leave what they leave when made one after another, in fewer statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from app.records import EventRecord, Records, RunRecord, UsageRecord
from app.runs.changes import Begun, Change, Changed, Charged, Happened, apply

_ROW = {
    "tenant": "t",
    "key": "k",
    "endpoint": "/v1/answers",
    "status": "queued",
    "background": False,
    "instance": "i",
    "request_id": "r",
    "model": "m",
    "request": {},
    "kept": b"kept",
    "digest": None,
    "idempotency_key": None,
    "created_at": 1.0,
    "attempts": 1,
    "tokens": 0,
    "started_at": None,
    "finished_at": None,
    "response": None,
    "error": None,
}


def life(run: str) -> list[Change]:
    """All that happens in a run."""
    return [
        Begun(run, lambda: {"id": run, **_ROW}),
        Changed(run, {"status": "running", "started_at": 2.0}),
        Happened(lambda: {"run": run, "seq": 1, "choice": 0, "data": {"event": "noted"}}),
        Happened(lambda: {"run": run, "seq": 2, "choice": 0, "data": {"event": "stopped"}}),
        Charged("k", "2026-01-01", 7),
        Changed(run, {"status": "completed", "finished_at": 3.0, "response": {"a": 1}, "tokens": 7, "kept": None}),
    ]


def left(records: Records) -> list[list[dict[str, Any]]]:
    """All rows."""

    def rows(session: Session) -> list[list[dict[str, Any]]]:
        tables = (RunRecord.__table__, EventRecord.__table__, UsageRecord.__table__)
        return [[dict(row._mapping) for row in session.execute(select(table))] for table in tables]

    return records.reading(rows)


@pytest.mark.parametrize("size", [1, 2, 5, 18])
def test_together_is_as_one_after_another(records: Records, tmp_path: Path, size: int) -> None:
    changes = [change for run in ("one", "two", "three") for change in life(run)]
    for start in range(0, len(changes), size):
        records.writing(partial(apply, changes=changes[start : start + size]))
    other = Records(f"sqlite:///{tmp_path}/other.sqlite")
    other.open()
    for change in changes:
        other.writing(change)
    assert left(records) == left(other)
    assert [row["runs"] for row in left(records)[2]] == [3]
    other.close()


def test_sixteen_runs_take_as_many_statements_as_one(records: Records) -> None:
    def statements(changes: Sequence[Change]) -> int:
        counted = 0

        def count(*_: object) -> None:
            nonlocal counted
            counted += 1

        event.listen(Engine, "before_cursor_execute", count)
        try:
            records.writing(partial(apply, changes=changes))
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        return counted

    records.writing(partial(apply, changes=life("first")))
    one = statements(life("alone"))
    many = statements([change for number in range(16) for change in life(f"run {number}")])
    assert one == many


def test_what_is_no_row_is_done_in_its_turn(records: Records) -> None:
    seen: list[str | None] = []

    def look(session: Session) -> None:
        seen.append(session.scalar(select(RunRecord.status)))

    begun, *rest = life("run")
    records.writing(partial(apply, changes=[look, begun, look, *rest, look]))
    assert seen == [None, "queued", "completed"]
