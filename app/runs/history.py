"""Runs as they are read: one alone, a page of them, or followed from any event on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Literal

from sqlalchemy.orm import Session

from app.caller import Caller
from app.errors import Clash, Missing
from app.records import EventRecord, Records, RunRecord
from app.runs import archive
from app.runs.book import Book
from app.runs.frames import answered, failed, happened, heard
from app.runs.job import Job
from app.runs.live import OVER, Heard, LiveRun
from app.runs.registry import Registry
from app.runs.schemas import RunList, RunObject

_POLL_SECONDS = 1.0
"""How often the records are read for news of a run that another process works on."""


class History:
    """All runs, of which each tenant sees its own. What was told just now is written down before it is read.

    `kinds` are the jobs that there are, by endpoint.
    """

    def __init__(self, records: Records, book: Book, live: Registry, kinds: Mapping[str, type[Job]]) -> None:
        self._records = records
        self._book = book
        self._live = live
        self._kinds = kinds

    async def show(self, tenant: str, run_id: str) -> RunObject:
        """One run with its whole trace. Raises Missing."""
        await self._book.flush()
        return await self._records.read(
            lambda session: archive.whole(_found(session, tenant, run_id), archive.events(session, run_id))
        )

    def ended(self, run: RunObject) -> RunObject:
        """The run, if it is over. Raises Clash: what another process works on can be cancelled only there."""
        if run.status not in OVER:
            raise Clash("This run works in another process of the service.", code="run_elsewhere")
        return run

    async def page(
        self, tenant: str, *, limit: int, after: str | None, order: Literal["asc", "desc"], status: str | None
    ) -> RunList:
        """So many runs that come after one of them. Raises Missing if that one does not exist."""
        await self._book.flush()

        def turn(session: Session) -> RunList:
            mark = None if after is None else _found(session, tenant, after)
            found = archive.page(session, tenant, limit=limit + 1, after=mark, order=order, status=status)
            data = [archive.summary(record, kept) for record, kept in found[:limit]]
            ends = (data[0].id, data[-1].id) if data else (None, None)
            return RunList(data=data, first_id=ends[0], last_id=ends[1], has_more=len(found) > limit)

        return await self._records.read(turn)

    async def last(self, tenant: str, run_id: str) -> int | None:
        """The number of the end of a run, which comes after its last event; None if it is not over. Raises Missing."""
        await self._book.flush()
        return await self._records.read(
            lambda session: (
                archive.last_seq(session, run_id) + 1 if _found(session, tenant, run_id).status in OVER else None
            )
        )

    async def follow(self, tenant: str, run_id: str, after: int, quiet: float) -> AsyncGenerator[bytes | None]:
        """Its events after one of them and its end, as frames; first those of the past, then as they come.

        None after each `quiet` seconds of silence. Raises Missing.
        """
        silence = 0.0
        while True:
            live = self._live.get(tenant, run_id)
            await self._book.flush()
            record, past = await self._records.read(lambda session, seq=after: _since(session, tenant, run_id, seq))  # type: ignore[misc]
            for each in past:
                after, silence = each.seq, 0.0
                yield happened(each.seq, each.choice, each.data)
            if live is not None:
                async for told in live.follow(after, quiet):
                    if told is None or isinstance(told, Heard):
                        yield None if told is None else heard(told)
                    else:
                        after = told.seq
                        yield happened(told.seq, told.choice, told.data)
                continue  # its end is in the records
            if record.status in OVER:
                break
            await asyncio.sleep(_POLL_SECONDS)
            silence += _POLL_SECONDS
            if silence >= quiet:
                silence = 0.0
                yield None
        if record.status == "completed":
            yield answered(after + 1, record.response or {})
        else:
            yield failed({"error": record.error}, after + 1)

    async def reopen(self, caller: Caller, run_id: str, request_id: str) -> LiveRun:
        """A run that may be begun again. Raises Missing, Clash."""
        await self._book.flush()

        def look(session: Session) -> tuple[RunRecord, int]:
            record = archive.find(session, caller.tenant, run_id, whole=True)
            if record is None:
                raise _missing(run_id)
            return record, archive.last_seq(session, run_id)

        record, seq = await self._records.read(look)
        if record.status not in OVER - {"completed"}:
            raise Clash(f"This run is {record.status}; there is nothing to begin again.", code="not_resumable")
        document = archive.document(record)
        if document is None:
            raise Clash("The request of this run was too large to be kept. Send it again.", code="not_kept")
        return LiveRun(
            record.id,
            self._kinds[record.endpoint].load(document),
            caller,
            request_id,
            background=True,
            digest=record.digest,
            idempotency_key=record.idempotency_key,
            first=seq + 1,
            created_at=record.created_at,
        )


def _since(session: Session, tenant: str, run_id: str, after: int) -> tuple[RunRecord, list[EventRecord]]:
    return _found(session, tenant, run_id), archive.events(session, run_id, after)


def _found(session: Session, tenant: str, run_id: str) -> RunRecord:
    record = archive.find(session, tenant, run_id)
    if record is None:
        raise _missing(run_id)
    return record


def _missing(run_id: str) -> Missing:
    return Missing(f"There is no run {run_id!r}.", param="run_id")
