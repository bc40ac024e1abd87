"""Runs in the records: how they are written, and how they are found again."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.orm import Session, undefer

from agents.trace import Event
from app.cards import ErrorBody
from app.records import EventRecord, RunRecord
from app.runs.changes import Begun, Change, Changed, Happened
from app.runs.live import OVER, LiveRun, Told
from app.runs.schemas import RunEvent, RunObject, RunSummary

_EVENT: TypeAdapter[Event] = TypeAdapter(Event)
_LONGEST = 200
"""Characters of a data URL that are shown."""
_UNTRIED = {"attempts": 1, "tokens": 0, "started_at": None, "finished_at": None, "response": None, "error": None}
"""Columns of a run at which nobody has worked yet."""
_INTERRUPTED = ErrorBody(
    message="The service stopped before this run was over. Resume it, or ask again.",
    type="server_error",
    param=None,
    code="interrupted",
)


def begun(live: LiveRun, *, instance: str, model: str, kept_bytes: int) -> Change:
    """A new run. Its request is read and compressed where the change is made."""

    def row() -> dict[str, Any]:
        document = live.job.document()
        return {
            "id": live.id,
            "tenant": live.caller.tenant,
            "key": live.caller.key,
            "endpoint": live.job.endpoint,
            "status": status,
            "background": live.background,
            "instance": instance,
            "request_id": live.request_id,
            "model": live.job.model or model,
            "request": shown(document["request"]),
            "kept": _kept(document, None if live.background else kept_bytes),
            "digest": live.digest,
            "idempotency_key": live.idempotency_key,
            "created_at": live.created_at,
            **_UNTRIED,
        }

    status = live.status
    return Begun(live.id, row)


def begun_again(live: LiveRun, *, instance: str) -> Change:
    """A run that is begun once more."""
    fields = {
        "status": live.status,
        "instance": instance,
        "request_id": live.request_id,
        "background": live.background,
        "attempts": RunRecord.attempts + 1,
        "started_at": None,
        "finished_at": None,
        "error": None,
        "tokens": 0,
    }
    return lambda session: session.execute(update(RunRecord).where(RunRecord.id == live.id).values(fields))


def started(run_id: str) -> Change:
    """A run whose turn it is."""
    return Changed(run_id, {"status": "running", "started_at": time.time()})


def told(run_id: str, what: Told) -> Change:
    """An event."""
    return Happened(lambda: {"run": run_id, "seq": what.seq, "choice": what.choice, "data": what.data})


def ended(live: LiveRun, status: str, error: Mapping[str, Any] | None) -> Change:
    """The end of a run. Only what may have to be done again is kept."""
    fields: dict[str, Any] = {
        "status": status,
        "finished_at": time.time(),
        "response": live.response,
        "error": error,
        "tokens": live.tokens,
        **({"kept": None} if status == "completed" else {}),
    }
    return Changed(live.id, fields)


def interrupt(session: Session, instance: str) -> int:
    """Mark what a former process of this name has left unfinished; how many that were."""
    left = update(RunRecord).where(RunRecord.instance == instance, RunRecord.status.not_in(OVER))
    fields = {"status": "interrupted", "finished_at": time.time(), "error": _INTERRUPTED.model_dump()}
    return int(session.execute(left.values(fields)).rowcount)  # type: ignore[attr-defined]


def sweep(session: Session, seconds: float) -> None:
    """Forget runs that ended so long ago."""
    old = delete(RunRecord).where(RunRecord.finished_at < time.time() - seconds)
    session.execute(old)


def find(session: Session, tenant: str, run_id: str, *, whole: bool = False) -> RunRecord | None:
    """A run of this tenant. `whole`: with its request as it came."""
    options = (undefer(RunRecord.kept),) if whole else ()
    wanted = select(RunRecord).where(RunRecord.id == run_id, RunRecord.tenant == tenant).options(*options)
    return session.scalar(wanted)


def keyed(session: Session, tenant: str, key: str) -> RunRecord | None:
    """The run of an idempotency key."""
    wanted = select(RunRecord).where(RunRecord.tenant == tenant, RunRecord.idempotency_key == key)
    return session.scalar(wanted)


def events(session: Session, run_id: str, after: int = 0) -> list[EventRecord]:
    """Events of a run after one of them."""
    wanted = select(EventRecord).where(EventRecord.run == run_id, EventRecord.seq > after)
    return list(session.scalars(wanted.order_by(EventRecord.seq)))


def last_seq(session: Session, run_id: str) -> int:
    """Number of a run's last event; 0 if it has none."""
    return session.scalar(select(func.max(EventRecord.seq)).where(EventRecord.run == run_id)) or 0


def page(
    session: Session,
    tenant: str,
    *,
    limit: int,
    after: RunRecord | None,
    order: Literal["asc", "desc"],
    status: str | None,
) -> Sequence[tuple[RunRecord, bool]]:
    """Runs of a tenant by age, each with whether its request is kept."""
    place = tuple_(RunRecord.created_at, RunRecord.id)
    wanted = select(RunRecord, RunRecord.kept.is_not(None)).where(RunRecord.tenant == tenant)
    if status is not None:
        wanted = wanted.where(RunRecord.status == status)
    if after is not None:
        mark = tuple_(after.created_at, after.id)
        wanted = wanted.where(place < mark if order == "desc" else place > mark)
    columns = (RunRecord.created_at, RunRecord.id)
    wanted = wanted.order_by(*(each.desc() if order == "desc" else each.asc() for each in columns))
    return [(run, kept) for run, kept in session.execute(wanted.limit(limit))]


def summary(record: RunRecord, kept: bool) -> RunSummary:
    """A run as a list shows it."""
    return RunSummary(**_summary(record, kept))


def whole(record: RunRecord, told: Sequence[EventRecord]) -> RunObject:
    """A run as it is shown alone."""
    return RunObject(
        **_summary(record, record.kept is not None),
        request=record.request,
        response=record.response,
        error=ErrorBody.model_validate(record.error) if record.error else None,
        events=[RunEvent(seq=each.seq, choice=each.choice, event=each.data) for each in told],
    )


def heard(told: Sequence[EventRecord]) -> list[Told]:
    """Events as they were told."""
    return [Told(each.seq, each.choice, _EVENT.validate_python(each.data)) for each in told]


def document(record: RunRecord) -> dict[str, Any] | None:
    """What was kept of the request; None if it was too large or is no longer wanted."""
    if record.kept is None:
        return None
    found: dict[str, Any] = json.loads(zlib.decompress(record.kept))
    return found


def shown(value: Any) -> Any:
    """JSON without the content of media."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST or not _is_media(value) else f"{value[:40]}… ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {key: shown(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [shown(each) for each in value]
    return value


def _is_media(text: str) -> bool:
    """A data: URL, or base64 without one: no words in ASCII are that long without a space."""
    head = text[: 10 * _LONGEST]
    return text.startswith("data:") or (head.isascii() and not any(map(str.isspace, head)))


def _kept(document: Mapping[str, Any], most: int | None) -> bytes | None:
    packed = zlib.compress(json.dumps(document).encode(), level=1)
    return packed if most is None or len(packed) <= most else None


def _summary(record: RunRecord, kept: bool) -> dict[str, Any]:
    times = {name: getattr(record, name) for name in ("created_at", "started_at", "finished_at")}
    return {
        **{name: getattr(record, name) for name in ("id", "endpoint", "model", "background", "attempts", "tokens")},
        **{name: None if time is None else int(time) for name, time in times.items()},
        "status": record.status,
        "resumable": kept and record.status in OVER - {"completed"},
    }
