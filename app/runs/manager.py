"""Starts, resumes, cancels and finishes runs. Every request becomes a run here."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from fastapi import Request
from sqlalchemy.exc import IntegrityError

from agents.core.trace import Event, InfoEvent, OnDelta
from app.access.caller import Caller
from app.access.quotas import DailyQuota
from app.answers.response import new_run_id, round_floats
from app.answers.service import AnswerService
from app.db.session import Database, DatabaseFull, DatabaseUnavailable
from app.errors import Conflict, ErrorDetail, RunCancelled, ShuttingDown
from app.middleware import describe_error
from app.runs import repository
from app.runs.idempotency import DuplicateFinder, RequestContext
from app.runs.queue import FairQueue
from app.runs.run import ActiveRun, Job, JobContext, RunRegistry
from app.runs.schemas import FINAL_STATUSES, RunStatus
from app.runs.writer import Write, WriteQueue
from app.settings import Settings
from app.sse import cancel_on_disconnect
from app.telemetry.observers import RunObserver


class RunEventSink:
    """Records and publishes the events of one run."""

    def __init__(self, live: ActiveRun, book: WriteQueue, watcher: RunObserver) -> None:
        self._live = live
        self._book = book
        self._watcher = watcher

    def on_event(self, event: Event, choice: int) -> None:
        """Record an event and pass it to followers and observers."""
        self._book.put(repository.insert_event(self._live.id, self._live.add_event(event, choice)))
        self._watcher.on_event(self._live, event, choice)

    def on_delta(self, choice: int) -> OnDelta | None:
        """A callback for pieces of partial replies, which are not recorded; None if nobody can be following."""
        if not (self._live.streamed or self._live.background):
            return None
        return lambda delta: self._live.add_delta(delta, choice)


_LOG = logging.getLogger("secondlook")
_DAY = 24 * 3600.0
_MIN_SECONDS = 0.001
"""Least time in seconds for a run, even if its client is about to time out."""


class RunManager:
    """Starts runs, one per request even if it is sent again, and records how each one ends.

    `answers` returns the answer service, or raises NotReady.
    """

    def __init__(
        self,
        settings: Settings,
        records: Database,
        gate: FairQueue,
        answers: Callable[[], AnswerService],
        watcher: RunObserver,
    ) -> None:
        self.active = RunRegistry()
        self.writes = WriteQueue(records, settings.persist_seconds)
        self._repeats = DuplicateFinder(records, self.active)
        self._settings = settings
        self._records = records
        self._gate = gate
        self._allowance = DailyQuota(records)
        self._answers = answers
        self._watcher = watcher

    async def open(self) -> None:
        """Mark runs that the last process left unfinished as interrupted, and start the write queue."""
        left = await self._records.write(lambda session: repository.interrupt_runs(session, self._settings.instance))
        if left:
            _LOG.warning("%d runs were interrupted by the end of the last process; they can be resumed", left)
        self.writes.open()

    async def close(self, seconds: float) -> None:
        """Refuse new runs, wait up to `seconds` for active ones, interrupt the rest, and flush all writes."""
        self._gate.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gate.idle()
        await self.interrupt()
        await self.writes.close()

    async def interrupt(self) -> None:
        """Interrupt all active runs; they can be resumed. Waiting clients get ShuttingDown."""
        tasks = [live.task for live in self.active if live.task]
        for live in self.active:
            self._stop(live, "interrupted", ShuttingDown())
        await asyncio.gather(self.writes.flush(), *tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Delete runs and usage counts that are older than their retention time."""
        seconds = self._settings.run_days * _DAY
        await self._records.write(lambda session: repository.delete_old_runs(session, seconds))
        await self._allowance.sweep()

    async def start(self, job: Job, caller: Caller, ticket: RequestContext) -> ActiveRun:
        """The run for a request: a new one, or the earlier one of the same request, which may be finished already.

        Raises what is wrong with the request, Busy, NotReady, ShuttingDown or Conflict; for a durable run also
        DatabaseUnavailable and DatabaseFull.
        """
        job.check(self._answers())
        live = ActiveRun(
            new_run_id(),
            job,
            caller,
            ticket.request_id,
            background=ticket.background,
            streamed=ticket.streamed,
            digest=ticket.digest,
            idempotency_key=ticket.idempotency_key,
            deadline=ticket.deadline,
        )
        former = await self._repeats.find(live, ticket)
        if former is live and not live.over:
            return await self.resume(live)
        if former is not None:
            return former
        model = self._answers().model
        await self._begin(
            live,
            repository.insert_run(
                live, instance=self._settings.instance, model=model, kept_bytes=self._settings.kept_bytes
            ),
        )
        return live

    async def resume(self, run: ActiveRun) -> ActiveRun:
        """Run a request again from the start, with the same seed. Raises Conflict if it is active already."""
        run.job.check(self._answers())
        if self.active.get(run.caller.tenant, run.id) is not None:
            raise Conflict("This run has been begun again already.", code="not_resumable")
        await self._begin(run, repository.restart_run(run, instance=self._settings.instance))
        return run

    @contextmanager
    def client_waiting(self, live: ActiveRun, ticket: RequestContext) -> Iterator[None]:
        """Count a client as waiting. When the last one leaves, the run is cancelled, unless a retry is expected."""
        try:
            with live.watching():
                yield
        except asyncio.CancelledError:
            raise  # the server stops: `close` decides what becomes of the run
        except BaseException:
            self._left(live, ticket)
            raise
        self._left(live, ticket)

    async def cancel(self, live: ActiveRun) -> None:
        """Cancel a run and wait until its end is recorded."""
        self._stop(live, "cancelled", RunCancelled("This run was cancelled."))
        if live.task is not None:
            await asyncio.gather(live.task, return_exceptions=True)

    async def _begin(self, live: ActiveRun, change: Write) -> None:
        """Start the task of a run. A durable run is in the database when this returns."""
        self.active.add(live)
        live.task = asyncio.create_task(self._work(live))
        await asyncio.sleep(0)  # yield once, so that the run's task joins the queue or is turned away
        try:
            if live.error is not None:
                raise live.error
            if live.durable:
                await self._records.write(change)
            else:
                self.writes.put(change)
        except BaseException as error:
            self._stop(live, "cancelled", error)
            self._drop(live)
            if isinstance(error, IntegrityError):
                raise Conflict("The same request is being answered by another process.") from None
            raise
        live.recorded.set()

    async def _work(self, live: ActiveRun) -> None:
        status: RunStatus = "completed"
        telling, came = RunEventSink(live, self.writes, self._watcher), monotonic()
        try:
            patience = math.inf if live.background else None
            async with self._gate.slot(live.caller, patience):
                await live.recorded.wait()
                live.caller = await self._allowance.admit(live.caller, self.active.tokens_of(live.caller.key))
                live.status = "running"
                self._watcher.on_run_start(live, monotonic() - came)
                self.writes.put(repository.start_run(live.id))
                if live.first_seq > 1:
                    telling.on_event(InfoEvent(text="The run begins again."), 0)
                response = await live.job.run(self._answers(), self._place(live), telling)
            live.response = round_floats(response.model_dump(mode="json"))
        except asyncio.CancelledError:
            status = live.stopping or "interrupted"
        except ShuttingDown as error:
            status, live.error = "interrupted", error
        except Exception as error:
            status, live.error = "failed", error
            if live.background:
                describe_error(error, live.request_id)
        await self._end(live, status)

    async def _end(self, live: ActiveRun, status: RunStatus) -> None:
        """Record the end, then resolve the run. A plain run is resolved first: its client needs no record."""
        live.status = status
        told = status == "completed" and not live.durable
        if told:
            live.finish(status)
        self._watcher.on_run_end(
            live, status, None if live.error is None else ErrorDetail.from_exception(live.error).spec.code
        )
        if live.recorded.is_set():
            await self._record_end(live, status, hurry=not told)
        if not told:
            live.finish(status)
        self._drop(live)

    async def _record_end(self, live: ActiveRun, status: RunStatus, *, hurry: bool) -> None:
        """Until this is written, the run counts as active. A failed write does not take the answer from the client."""
        self.writes.put(self._allowance.usage(live.caller.key, live.tokens))
        error = None if live.error is None else ErrorDetail.from_exception(live.error).body["error"]
        self.writes.put(repository.finish_run(live, status, error))
        try:
            await self.writes.flush(hurry=hurry)
        except (DatabaseUnavailable, DatabaseFull) as error_:
            _LOG.error("the end of %s is not written down yet: %s", live.id, error_)

    def _drop(self, live: ActiveRun) -> None:
        self.active.remove(live)
        if live.status == "completed":
            asyncio.get_running_loop().call_later(self._settings.retry_grace_seconds, self.active.forget_request, live)
        else:
            self.active.forget_request(live)

    def _stop(self, live: ActiveRun, status: RunStatus, error: BaseException) -> None:
        if live.status not in FINAL_STATUSES and live.task is not None:
            live.stopping = live.stopping or status
            live.error = live.error or error
            live.task.cancel()

    def _left(self, live: ActiveRun, ticket: RequestContext) -> None:
        if live.background or live.over or live.watchers:
            return
        if ticket.timed_out:
            grace = self._settings.retry_grace_seconds
            asyncio.get_running_loop().call_later(grace, self._abandon, live)
        else:
            self._abandon(live)

    def _abandon(self, live: ActiveRun) -> None:
        if not live.watchers:
            self._stop(live, "cancelled", RunCancelled("The client left before its answer was ready."))

    def _place(self, live: ActiveRun) -> JobContext:
        seconds = None if live.deadline is None else max(_MIN_SECONDS, live.deadline - monotonic())
        return JobContext(live.caller, live.id, live.created_at, seconds)


RUN_ID_HEADER = {"x-run-id": {"description": "Id of the run, for /v1/runs/{id}.", "schema": {"type": "string"}}}
"""OpenAPI description of a header on every answer."""


async def wait_for_response(
    runs: RunManager, live: ActiveRun, ticket: RequestContext, request: Request
) -> dict[str, Any]:
    """Wait for the response as JSON. Raises what the run raises, and ClientDisconnected if the client leaves."""
    with runs.client_waiting(live, ticket):
        await cancel_on_disconnect(request.receive, live.finished())
    return live.outcome()
