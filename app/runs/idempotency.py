"""Recognises requests that were sent before, by idempotency key or as a client's retry."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from time import monotonic
from typing import Annotated

from fastapi import Header, Request

from app.db.session import Database
from app.errors import Conflict
from app.runs import repository
from app.runs.run import ActiveRun, RunRegistry
from app.runs.schemas import FINAL_STATUSES

_RETRY_HEADER, _TIMEOUT_HEADER = "x-stainless-retry-count", "x-stainless-read-timeout"
"""Headers of OpenAI's clients: the number of the retry, and the read timeout in seconds."""
_ANSWER_BY = 0.95
"""Fraction of the client's timeout after which the best answer so far is sent."""
_TIMED_OUT_AFTER = 0.9
"""Fraction of the client's timeout after which a disconnect counts as a timeout."""

IdempotencyKey = Annotated[
    str | None,
    Header(max_length=255, pattern=r"^[!-~]+$", description="The same key and body: the same run, done once."),
]


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What the headers of a request say.

    `digest` is the SHA-256 of the body, taken only for requests that may be repeated. `client_timeout` is in seconds,
    `began` by the monotonic clock.
    """

    request_id: str = ""
    background: bool = False
    streamed: bool = False
    idempotency_key: str | None = None
    digest: str | None = None
    retry: bool = False
    client_timeout: float | None = None
    began: float = field(default_factory=monotonic)

    @classmethod
    async def from_request(
        cls, request: Request, key: str | None, *, background: bool = False, streamed: bool = False
    ) -> RequestContext:
        """Read the headers, and hash the body if need be; FastAPI must have read it before."""
        count = request.headers.get(_RETRY_HEADER, "")
        body = await request.body() if key or count else None
        return cls(
            request_id=request.state.request_id,
            background=background,
            streamed=streamed,
            idempotency_key=key,
            digest=await asyncio.to_thread(_digest, body) if body is not None else None,
            retry=count.isdecimal() and int(count) > 0,
            client_timeout=_seconds(request.headers.get(_TIMEOUT_HEADER)),
            began=request.state.began,
        )

    @property
    def deadline(self) -> float | None:
        """When the answer must be sent, by the monotonic clock; None for streams and background runs."""
        if self.background or self.streamed or self.client_timeout is None:
            return None
        return self.began + self.client_timeout * _ANSWER_BY

    @property
    def timed_out(self) -> bool:
        """Whether a client that has disconnected probably timed out, so that a retry is to be expected."""
        return self.client_timeout is not None and monotonic() - self.began >= self.client_timeout * _TIMED_OUT_AFTER

    def ping_interval(self, usual: float) -> float:
        """Seconds of silence after which a stream sends a ping, so that the client does not time out."""
        return usual if self.client_timeout is None else min(usual, self.client_timeout / 2)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < 1e6 else None


class DuplicateFinder:
    """Finds the run that was started earlier for the same request."""

    def __init__(self, records: Database, live: RunRegistry) -> None:
        self._records = records
        self._live = live

    async def find(self, live: ActiveRun, ticket: RequestContext) -> ActiveRun | None:
        """The earlier run of the same request, or None.

        A run that is active, or has just finished, is returned itself. One that is only in the database is loaded into
        `live`, which is then returned: finished if that run was completed, else ready to be resumed. Raises Conflict if
        the key was used for another request, or another process is answering it.
        """
        if ticket.idempotency_key is not None:
            return await self._named(live, ticket.idempotency_key)
        twin = self._live.by_request(live.caller.tenant, live.job.endpoint, ticket.digest) if ticket.retry else None
        return None if twin is None or twin.stopping else twin

    async def _named(self, live: ActiveRun, key: str) -> ActiveRun | None:
        tenant = live.caller.tenant
        if (former := self._live.by_idempotency_key(tenant, key)) and former.stopping:
            await former.finished()
        if (former := self._live.by_idempotency_key(tenant, key)) is None:
            record = await self._records.read(lambda session: repository.find_run_by_key(session, tenant, key))
            if record is not None:
                _check_same_request(live, record.endpoint, record.digest)
                await self._revive(live, record.id)
            if (former := self._live.by_idempotency_key(tenant, key)) is None:
                return None if record is None else live
        _check_same_request(live, former.job.endpoint, former.digest)
        return former

    async def _revive(self, live: ActiveRun, run_id: str) -> None:
        """Load the recorded run into the new one."""
        record, told = await self._records.read(
            lambda session: (
                repository.find_run(session, live.caller.tenant, run_id),
                repository.select_events(session, run_id),
            )
        )
        if record is None:
            raise Conflict("The run of this Idempotency-Key was deleted just now.")
        if record.status not in FINAL_STATUSES:
            if self._live.get(live.caller.tenant, run_id) is not None:  # resumed here in the meantime
                return
            raise Conflict("This request is being answered by another process.", code="run_elsewhere")
        live.id, live.created_at = record.id, record.created_at
        if record.status == "completed":
            live.restore(repository.run_events(told), record.response or {})
        else:
            live.first_seq = told[-1].seq + 1 if told else 1


def _check_same_request(live: ActiveRun, endpoint: str, digest: str | None) -> None:
    if (endpoint, digest) != (live.job.endpoint, live.digest):
        raise Conflict("This Idempotency-Key was sent with another request.", code="idempotency_key_reused")
