"""Requests that were sent before: by a client that names them so, or by one that tries again."""

from __future__ import annotations

from app.errors import Clash
from app.records import Records
from app.runs import archive
from app.runs.live import OVER, LiveRun
from app.runs.registry import Registry
from app.runs.ticket import Ticket


class Repeats:
    """Finds the run that a request has had already."""

    def __init__(self, records: Records, live: Registry) -> None:
        self._records = records
        self._live = live

    async def find(self, live: LiveRun, ticket: Ticket) -> LiveRun | None:
        """The run that a new one would only repeat; None if there is none.

        A run under way, or just over, is itself. One of the past is what becomes of `live`: over if it was completed,
        else about to begin again. Raises Clash.
        """
        if ticket.idempotency_key is not None:
            return await self._named(live, ticket.idempotency_key)
        twin = self._live.twin(live.caller.tenant, live.job.endpoint, ticket.digest) if ticket.retry else None
        return None if twin is None or twin.stopping else twin

    async def _named(self, live: LiveRun, key: str) -> LiveRun | None:
        tenant = live.caller.tenant
        if (former := self._live.keyed(tenant, key)) and former.stopping:
            await former.ending()
        if (former := self._live.keyed(tenant, key)) is None:
            record = await self._records.read(lambda session: archive.keyed(session, tenant, key))
            if record is not None:
                _check(live, record.endpoint, record.digest)
                await self._revive(live, record.id)
            if (former := self._live.keyed(tenant, key)) is None:
                return None if record is None else live
        _check(live, former.job.endpoint, former.digest)
        return former

    async def _revive(self, live: LiveRun, run_id: str) -> None:
        """Let a new run be the former one."""
        record, told = await self._records.read(
            lambda session: (archive.find(session, live.caller.tenant, run_id), archive.events(session, run_id))
        )
        if record is None:
            raise Clash("The run of this Idempotency-Key was deleted just now.")
        if record.status not in OVER:
            if self._live.get(live.caller.tenant, run_id) is not None:  # begun again here meanwhile
                return
            raise Clash("This request is being answered by another process.", code="run_elsewhere")
        live.id, live.created_at = record.id, record.created_at
        if record.status == "completed":
            live.restore(archive.heard(told), record.response or {})
        else:
            live.first = told[-1].seq + 1 if told else 1


def _check(live: LiveRun, endpoint: str, digest: str | None) -> None:
    if (endpoint, digest) != (live.job.endpoint, live.digest):
        raise Clash("This Idempotency-Key was sent with another request.", code="idempotency_key_reused")
