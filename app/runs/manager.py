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

    def __init__(self, run: ActiveRun, writes: WriteQueue, observer: RunObserver) -> None:
        self._run = run
        self._writes = writes
        self._observer = observer

    def on_event(self, event: Event, choice: int) -> None:
        """Record an event and pass it to followers and observers."""
        self._writes.put(repository.insert_event(self._run.id, self._run.add_event(event, choice)))
        self._observer.on_event(self._run, event, choice)

    def on_delta(self, choice: int) -> OnDelta | None:
        """A callback for pieces of partial replies, which are not recorded; None if nobody can be following."""
        if not (self._run.streamed or self._run.background):
            return None
        return lambda delta: self._run.add_delta(delta, choice)


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
        database: Database,
        queue: FairQueue,
        answers: Callable[[], AnswerService],
        observer: RunObserver,
    ) -> None:
        self.active = RunRegistry()
        self.writes = WriteQueue(database, settings.persist_seconds)
        self._duplicates = DuplicateFinder(database, self.active)
        self._settings = settings
        self._database = database
        self._queue = queue
        self._daily_quota = DailyQuota(database)
        self._answers = answers
        self._observer = observer

    async def open(self) -> None:
        """Mark runs that the last process left unfinished as interrupted, and start the write queue."""
        left = await self._database.write(lambda session: repository.interrupt_runs(session, self._settings.instance))
        if left:
            _LOG.warning("%d runs were interrupted by the end of the last process; they can be resumed", left)
        self.writes.open()

    async def close(self, seconds: float) -> None:
        """Refuse new runs, wait up to `seconds` for active ones, interrupt the rest, and flush all writes."""
        self._queue.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._queue.idle()
        await self.interrupt()
        await self.writes.close()

    async def interrupt(self) -> None:
        """Interrupt all active runs; they can be resumed. Waiting clients get ShuttingDown."""
        tasks = [run.task for run in self.active if run.task]
        for run in self.active:
            self._stop(run, "interrupted", ShuttingDown())
        await asyncio.gather(self.writes.flush(), *tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Delete runs and usage counts that are older than their retention time."""
        seconds = self._settings.run_days * _DAY
        await self._database.write(lambda session: repository.delete_old_runs(session, seconds))
        await self._daily_quota.sweep()

    async def start(self, job: Job, caller: Caller, context: RequestContext) -> ActiveRun:
        """The run for a request: a new one, or the earlier one of the same request, which may be finished already.

        Raises what is wrong with the request, Busy, NotReady, ShuttingDown or Conflict; for a durable run also
        DatabaseUnavailable and DatabaseFull.
        """
        job.check(self._answers())
        run = ActiveRun(
            new_run_id(),
            job,
            caller,
            context.request_id,
            background=context.background,
            streamed=context.streamed,
            digest=context.digest,
            idempotency_key=context.idempotency_key,
            deadline=context.deadline,
        )
        earlier = await self._duplicates.find(run, context)
        if earlier is run and not run.over:
            return await self.resume(run)
        if earlier is not None:
            return earlier
        model = self._answers().model
        await self._start(
            run,
            repository.insert_run(
                run, instance=self._settings.instance, model=model, kept_bytes=self._settings.kept_bytes
            ),
        )
        return run

    async def resume(self, run: ActiveRun) -> ActiveRun:
        """Run a request again from the start, with the same seed. Raises Conflict if it is active already."""
        run.job.check(self._answers())
        if self.active.get(run.caller.tenant, run.id) is not None:
            raise Conflict("This run has already been resumed.", code="not_resumable")
        await self._start(run, repository.restart_run(run, instance=self._settings.instance))
        return run

    @contextmanager
    def client_waiting(self, run: ActiveRun, context: RequestContext) -> Iterator[None]:
        """Count a client as waiting. When the last one leaves, the run is cancelled, unless a retry is expected."""
        try:
            with run.watching():
                yield
        except asyncio.CancelledError:
            raise  # the server stops: `close` decides what becomes of the run
        except BaseException:
            self._client_left(run, context)
            raise
        self._client_left(run, context)

    async def cancel(self, run: ActiveRun) -> None:
        """Cancel a run and wait until its end is recorded."""
        self._stop(run, "cancelled", RunCancelled("This run was cancelled."))
        if run.task is not None:
            await asyncio.gather(run.task, return_exceptions=True)

    async def _start(self, run: ActiveRun, change: Write) -> None:
        """Start the task of a run. A durable run is in the database when this returns."""
        self.active.add(run)
        run.task = asyncio.create_task(self._work(run))
        await asyncio.sleep(0)  # yield once, so that the run's task joins the queue or is turned away
        try:
            if run.error is not None:
                raise run.error
            if run.durable:
                await self._database.write(change)
            else:
                self.writes.put(change)
        except BaseException as error:
            self._stop(run, "cancelled", error)
            self._forget(run)
            if isinstance(error, IntegrityError):
                raise Conflict("The same request is being answered by another process.") from None
            raise
        run.recorded.set()

    async def _work(self, run: ActiveRun) -> None:
        status: RunStatus = "completed"
        sink, queued_at = RunEventSink(run, self.writes, self._observer), monotonic()
        try:
            max_wait = math.inf if run.background else None
            async with self._queue.slot(run.caller, max_wait):
                await run.recorded.wait()
                run.caller = await self._daily_quota.admit(run.caller, self.active.tokens_of(run.caller.key))
                run.status = "running"
                self._observer.on_run_start(run, monotonic() - queued_at)
                self.writes.put(repository.start_run(run.id))
                if run.first_seq > 1:
                    sink.on_event(InfoEvent(text="The run begins again."), 0)
                response = await run.job.run(self._answers(), self._job_context(run), sink)
            run.response = round_floats(response.model_dump(mode="json"))
        except asyncio.CancelledError:
            status = run.stopping or "interrupted"
        except ShuttingDown as error:
            status, run.error = "interrupted", error
        except Exception as error:
            status, run.error = "failed", error
            if run.background:
                describe_error(error, run.request_id)
        await self._end(run, status)

    async def _end(self, run: ActiveRun, status: RunStatus) -> None:
        """Record the end, then resolve the run. A plain run is resolved first: its client needs no record."""
        run.status = status
        resolved = status == "completed" and not run.durable
        if resolved:
            run.finish(status)
        self._observer.on_run_end(
            run, status, None if run.error is None else ErrorDetail.from_exception(run.error).spec.code
        )
        if run.recorded.is_set():
            await self._record_end(run, status, hurry=not resolved)
        if not resolved:
            run.finish(status)
        self._forget(run)

    async def _record_end(self, run: ActiveRun, status: RunStatus, *, hurry: bool) -> None:
        """Until this is written, the run counts as active. A failed write does not take the answer from the client."""
        self.writes.put(self._daily_quota.usage(run.caller.key, run.tokens))
        error = None if run.error is None else ErrorDetail.from_exception(run.error).body["error"]
        self.writes.put(repository.finish_run(run, status, error))
        try:
            await self.writes.flush(hurry=hurry)
        except (DatabaseUnavailable, DatabaseFull) as failure:
            _LOG.error("the end of %s could not be recorded: %s", run.id, failure)

    def _forget(self, run: ActiveRun) -> None:
        self.active.remove(run)
        if run.status == "completed":
            asyncio.get_running_loop().call_later(self._settings.retry_grace_seconds, self.active.forget_request, run)
        else:
            self.active.forget_request(run)

    def _stop(self, run: ActiveRun, status: RunStatus, error: BaseException) -> None:
        if run.status not in FINAL_STATUSES and run.task is not None:
            run.stopping = run.stopping or status
            run.error = run.error or error
            run.task.cancel()

    def _client_left(self, run: ActiveRun, context: RequestContext) -> None:
        if run.background or run.over or run.watchers:
            return
        if context.timed_out:
            grace = self._settings.retry_grace_seconds
            asyncio.get_running_loop().call_later(grace, self._abandon, run)
        else:
            self._abandon(run)

    def _abandon(self, run: ActiveRun) -> None:
        if not run.watchers:
            self._stop(run, "cancelled", RunCancelled("The client left before its answer was ready."))

    def _job_context(self, run: ActiveRun) -> JobContext:
        seconds = None if run.deadline is None else max(_MIN_SECONDS, run.deadline - monotonic())
        return JobContext(run.caller, run.id, run.created_at, seconds)


RUN_ID_HEADER = {"x-run-id": {"description": "Id of the run, for /v1/runs/{id}.", "schema": {"type": "string"}}}
"""OpenAPI description of a header on every answer."""


async def wait_for_response(
    runs: RunManager, run: ActiveRun, context: RequestContext, request: Request
) -> dict[str, Any]:
    """Wait for the response as JSON. Raises what the run raises, and ClientDisconnected if the client leaves."""
    with runs.client_waiting(run, context):
        await cancel_on_disconnect(request.receive, run.finished())
    return run.outcome()
