"""Runs in the database: how they are stored, listed, read and followed."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.orm import Session, undefer

from agents.core.trace import Event
from app.access.caller import Caller
from app.db.session import Database
from app.db.tables import EventRecord, RunRecord
from app.errors import Conflict, ErrorBody, NotFound
from app.runs.run import ActiveRun, Job, RunDelta, RunEvent, RunRegistry
from app.runs.schemas import FINAL_STATUSES, RunEventObject, RunList, RunObject, RunSummary
from app.runs.sse_events import encode_answer, encode_delta, encode_error, encode_run_event
from app.runs.writer import InsertEvent, InsertRun, UpdateRun, Write, WriteQueue

_EVENT_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)
_SHOWN_CHARACTERS = 200
"""Characters of a data URL that are shown."""
_NEW_RUN = {"attempts": 1, "tokens": 0, "started_at": None, "finished_at": None, "response": None, "error": None}
"""Columns of a run at which nobody has worked yet."""
_INTERRUPTED = ErrorBody(
    message="The service stopped before this run was over. Resume it, or ask again.",
    type="server_error",
    param=None,
    code="interrupted",
)


def insert_run(live: ActiveRun, *, instance: str, model: str, kept_bytes: int) -> Write:
    """Insert a new run. Its request is dumped and compressed when the write happens, off the event loop."""

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
            "request": without_media(document["request"]),
            "kept": _compress(document, None if live.background else kept_bytes),
            "digest": live.digest,
            "idempotency_key": live.idempotency_key,
            "created_at": live.created_at,
            **_NEW_RUN,
        }

    status = live.status
    return InsertRun(live.id, row)


def restart_run(live: ActiveRun, *, instance: str) -> Write:
    """Reset a run for another attempt."""
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


def start_run(run_id: str) -> Write:
    """Mark a run as running."""
    return UpdateRun(run_id, {"status": "running", "started_at": time.time()})


def insert_event(run_id: str, what: RunEvent) -> Write:
    """Insert an event."""
    return InsertEvent(lambda: {"run": run_id, "seq": what.seq, "choice": what.choice, "data": what.data})


def finish_run(live: ActiveRun, status: str, error: Mapping[str, Any] | None) -> Write:
    """Record the end of a run. The request is kept only if the run can be resumed."""
    fields: dict[str, Any] = {
        "status": status,
        "finished_at": time.time(),
        "response": live.response,
        "error": error,
        "tokens": live.tokens,
        **({"kept": None} if status == "completed" else {}),
    }
    return UpdateRun(live.id, fields)


def interrupt_runs(session: Session, instance: str) -> int:
    """Mark runs that an earlier process of this instance left unfinished as interrupted; returns how many."""
    left = update(RunRecord).where(RunRecord.instance == instance, RunRecord.status.not_in(FINAL_STATUSES))
    fields = {"status": "interrupted", "finished_at": time.time(), "error": _INTERRUPTED.model_dump()}
    return int(session.execute(left.values(fields)).rowcount)  # type: ignore[attr-defined]


def delete_old_runs(session: Session, seconds: float) -> None:
    """Delete runs that ended at least so many seconds ago."""
    old = delete(RunRecord).where(RunRecord.finished_at < time.time() - seconds)
    session.execute(old)


def find_run(session: Session, tenant: str, run_id: str, *, whole: bool = False) -> RunRecord | None:
    """A run of this tenant. `whole`: with its request as it came."""
    options = (undefer(RunRecord.kept),) if whole else ()
    wanted = select(RunRecord).where(RunRecord.id == run_id, RunRecord.tenant == tenant).options(*options)
    return session.scalar(wanted)


def find_run_by_key(session: Session, tenant: str, key: str) -> RunRecord | None:
    """The run of an idempotency key."""
    wanted = select(RunRecord).where(RunRecord.tenant == tenant, RunRecord.idempotency_key == key)
    return session.scalar(wanted)


def select_events(session: Session, run_id: str, after: int = 0) -> list[EventRecord]:
    """Events of a run after a sequence number."""
    wanted = select(EventRecord).where(EventRecord.run == run_id, EventRecord.seq > after)
    return list(session.scalars(wanted.order_by(EventRecord.seq)))


def last_event_seq(session: Session, run_id: str) -> int:
    """Number of a run's last event; 0 if it has none."""
    return session.scalar(select(func.max(EventRecord.seq)).where(EventRecord.run == run_id)) or 0


def select_runs(
    session: Session,
    tenant: str,
    *,
    limit: int,
    after: RunRecord | None,
    order: Literal["asc", "desc"],
    status: str | None,
) -> Sequence[tuple[RunRecord, bool]]:
    """Runs of a tenant ordered by age, each with whether its request is kept."""
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


def run_summary(record: RunRecord, kept: bool) -> RunSummary:
    """The list entry of a run."""
    return RunSummary(**_summary_fields(record, kept))


def run_object(record: RunRecord, told: Sequence[EventRecord]) -> RunObject:
    """The full API object of a run."""
    return RunObject(
        **_summary_fields(record, record.kept is not None),
        request=record.request,
        response=record.response,
        error=ErrorBody.model_validate(record.error) if record.error else None,
        events=[RunEventObject(seq=each.seq, choice=each.choice, event=each.data) for each in told],
    )


def run_events(told: Sequence[EventRecord]) -> list[RunEvent]:
    """Recorded events as RunEvent objects."""
    return [RunEvent(each.seq, each.choice, _EVENT_ADAPTER.validate_python(each.data)) for each in told]


def kept_document(record: RunRecord) -> dict[str, Any] | None:
    """What was kept of the request; None if it was too large or is no longer wanted."""
    if record.kept is None:
        return None
    found: dict[str, Any] = json.loads(zlib.decompress(record.kept))
    return found


def without_media(value: Any) -> Any:
    """JSON without the content of media."""
    if isinstance(value, str):
        return (
            value
            if len(value) <= _SHOWN_CHARACTERS or not _is_media(value)
            else f"{value[:40]}… ({len(value)} characters)"
        )
    if isinstance(value, Mapping):
        return {key: without_media(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [without_media(each) for each in value]
    return value


def _is_media(text: str) -> bool:
    """A data: URL, or base64 without one: no words in ASCII are that long without a space."""
    head = text[: 10 * _SHOWN_CHARACTERS]
    return text.startswith("data:") or (head.isascii() and not any(map(str.isspace, head)))


def _compress(document: Mapping[str, Any], most: int | None) -> bytes | None:
    packed = zlib.compress(json.dumps(document).encode(), level=1)
    return packed if most is None or len(packed) <= most else None


def _summary_fields(record: RunRecord, kept: bool) -> dict[str, Any]:
    times = {name: getattr(record, name) for name in ("created_at", "started_at", "finished_at")}
    return {
        **{name: getattr(record, name) for name in ("id", "endpoint", "model", "background", "attempts", "tokens")},
        **{name: None if time is None else int(time) for name, time in times.items()},
        "status": record.status,
        "resumable": kept and record.status in FINAL_STATUSES - {"completed"},
    }


_POLL_SECONDS = 1.0
"""Seconds between polls for events of a run that another process works on."""


class RunReader:
    """Reads runs, each visible to its own tenant only. Queued writes are flushed before every read.

    `kinds` maps endpoints to classes of jobs.
    """

    def __init__(self, records: Database, book: WriteQueue, live: RunRegistry, kinds: Mapping[str, type[Job]]) -> None:
        self._records = records
        self._book = book
        self._live = live
        self._kinds = kinds

    async def get(self, tenant: str, run_id: str) -> RunObject:
        """One run with its whole trace. Raises NotFound."""
        await self._book.flush()
        return await self._records.read(
            lambda session: run_object(_get_run(session, tenant, run_id), select_events(session, run_id))
        )

    def require_finished(self, run: RunObject) -> RunObject:
        """The run, if it has finished. Raises Conflict: only the process that works on it can cancel it."""
        if run.status not in FINAL_STATUSES:
            raise Conflict("This run works in another process of the service.", code="run_elsewhere")
        return run

    async def page(
        self, tenant: str, *, limit: int, after: str | None, order: Literal["asc", "desc"], status: str | None
    ) -> RunList:
        """Up to `limit` runs after the one named. Raises NotFound if that one does not exist."""
        await self._book.flush()

        def turn(session: Session) -> RunList:
            mark = None if after is None else _get_run(session, tenant, after)
            found = select_runs(session, tenant, limit=limit + 1, after=mark, order=order, status=status)
            data = [run_summary(record, kept) for record, kept in found[:limit]]
            ends = (data[0].id, data[-1].id) if data else (None, None)
            return RunList(data=data, first_id=ends[0], last_id=ends[1], has_more=len(found) > limit)

        return await self._records.read(turn)

    async def end_seq(self, tenant: str, run_id: str) -> int | None:
        """Sequence number of a run's final event; None while it is active. Raises NotFound."""
        await self._book.flush()
        return await self._records.read(
            lambda session: (
                last_event_seq(session, run_id) + 1
                if _get_run(session, tenant, run_id).status in FINAL_STATUSES
                else None
            )
        )

    async def follow(self, tenant: str, run_id: str, after: int, quiet: float) -> AsyncGenerator[bytes | None]:
        """Yield a run's events after number `after` and its final event, encoded as server-sent events.

        Recorded events come first, then new ones as they happen. Yields None after each `quiet` seconds of silence.
        Raises NotFound.
        """
        silence = 0.0
        while True:
            live = self._live.get(tenant, run_id)
            await self._book.flush()
            record, past = await self._records.read(partial(_events_since, tenant=tenant, run_id=run_id, after=after))
            for each in past:
                after, silence = each.seq, 0.0
                yield encode_run_event(each.seq, each.choice, each.data)
            if live is not None:
                async for told in live.follow(after, quiet):
                    if told is None or isinstance(told, RunDelta):
                        yield None if told is None else encode_delta(told)
                    else:
                        after = told.seq
                        yield encode_run_event(told.seq, told.choice, told.data)
                continue  # its end is in the records
            if record.status in FINAL_STATUSES:
                break
            await asyncio.sleep(_POLL_SECONDS)
            silence += _POLL_SECONDS
            if silence >= quiet:
                silence = 0.0
                yield None
        if record.status == "completed":
            yield encode_answer(after + 1, record.response or {})
        else:
            yield encode_error({"error": record.error}, after + 1)

    async def reopen(self, caller: Caller, run_id: str, request_id: str) -> ActiveRun:
        """Load a run to be resumed. Raises NotFound, Conflict."""
        await self._book.flush()

        def look(session: Session) -> tuple[RunRecord, int]:
            record = find_run(session, caller.tenant, run_id, whole=True)
            if record is None:
                raise _not_found(run_id)
            return record, last_event_seq(session, run_id)

        record, seq = await self._records.read(look)
        if record.status not in FINAL_STATUSES - {"completed"}:
            raise Conflict(f"This run is {record.status}; there is nothing to begin again.", code="not_resumable")
        document = kept_document(record)
        if document is None:
            raise Conflict("The request of this run was too large to be kept. Send it again.", code="not_kept")
        return ActiveRun(
            record.id,
            self._kinds[record.endpoint].load(document),
            caller,
            request_id,
            background=True,
            digest=record.digest,
            idempotency_key=record.idempotency_key,
            first_seq=seq + 1,
            created_at=record.created_at,
        )


def _events_since(session: Session, tenant: str, run_id: str, after: int) -> tuple[RunRecord, list[EventRecord]]:
    return _get_run(session, tenant, run_id), select_events(session, run_id, after)


def _get_run(session: Session, tenant: str, run_id: str) -> RunRecord:
    record = find_run(session, tenant, run_id)
    if record is None:
        raise _not_found(run_id)
    return record


def _not_found(run_id: str) -> NotFound:
    return NotFound(f"There is no run {run_id!r}.", param="run_id")
