"""The one place where answers are made: every request of every face becomes a run here."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

from sqlalchemy.exc import IntegrityError

from agents.trace import Noted
from app.allowance import Allowance
from app.answers import Answers
from app.caller import Caller
from app.errors import Cancelled, Clash, Draining, Failure
from app.gate import Gate
from app.middleware import observe
from app.records import Records, RecordsDown, RecordsFull
from app.report import new_id, rounded
from app.runs import archive
from app.runs.book import Book
from app.runs.changes import Change
from app.runs.job import Job, Place
from app.runs.live import OVER, LiveRun, Status
from app.runs.registry import Registry
from app.runs.repeats import Repeats
from app.runs.telling import Telling
from app.runs.ticket import Ticket
from app.settings import Settings
from app.telemetry.watching import Watcher

_LOG = logging.getLogger("secondlook")
_DAY = 24 * 3600.0
_TURNS_TO_ANSWER = 2
"""Turns of the event loop until who waits for a run has sent its answer on. What a client sends back comes later."""
_INSTANT = 0.001
"""Seconds for a run whose client has all but given up: enough to say so."""


class Runs:
    """Begins runs, one for each question however often it is sent, and brings each to an end that is written down.

    `answers` gives the path to answers, or raises NotReady.
    """

    def __init__(
        self, settings: Settings, records: Records, gate: Gate, answers: Callable[[], Answers], watcher: Watcher
    ) -> None:
        self.live = Registry()
        self.book = Book(records, settings.persist_seconds)
        self._repeats = Repeats(records, self.live)
        self._settings = settings
        self._records = records
        self._gate = gate
        self._allowance = Allowance(records)
        self._answers = answers
        self._watcher = watcher

    async def open(self) -> None:
        """Mark what the last process left unfinished, and begin to work."""
        left = await self._records.write(lambda session: archive.interrupt(session, self._settings.instance))
        if left:
            _LOG.warning("%d runs were interrupted by the end of the last process; they can be resumed", left)
        self.book.open()

    async def close(self, seconds: float) -> None:
        """Take no more, let those at work end within so many seconds, interrupt the rest, write everything down."""
        self._gate.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gate.idle()
        await self.interrupt()
        await self.book.close()

    async def interrupt(self) -> None:
        """End the runs at work now; they can be resumed. Whoever waits for one is told."""
        tasks = [live.task for live in self.live if live.task]
        for live in self.live:
            self._stop(live, "interrupted", Draining())
        await asyncio.gather(self.book.flush(), *tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Forget the runs whose time is over."""
        seconds = self._settings.run_days * _DAY
        await self._records.write(lambda session: archive.sweep(session, seconds))
        await self._allowance.sweep()

    async def start(self, job: Job, caller: Caller, ticket: Ticket) -> LiveRun:
        """The run for a request: a new one, or that of the same request sent before. It may be over already.

        Raises what is wrong with the request, Busy, NotReady, Draining, Clash; RecordsDown and RecordsFull where
        it must not be begun without being written down.
        """
        job.check(self._answers())
        live = LiveRun(
            new_id(),
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
            archive.begun(live, instance=self._settings.instance, model=model, kept_bytes=self._settings.kept_bytes),
        )
        return live

    async def resume(self, run: LiveRun) -> LiveRun:
        """Begin a run again from its beginning: the same request, the same seed. Raises Clash if somebody has."""
        run.job.check(self._answers())
        if self.live.get(run.caller.tenant, run.id) is not None:
            raise Clash("This run has been begun again already.", code="not_resumable")
        await self._begin(run, archive.begun_again(run, instance=self._settings.instance))
        return run

    @contextmanager
    def awaited(self, live: LiveRun, ticket: Ticket) -> Iterator[None]:
        """A client waits for a run meanwhile. When the last one leaves, the run ends, unless a retry is expected."""
        try:
            with live.watched():
                yield
        except asyncio.CancelledError:
            raise  # the server stops: `close` decides what becomes of the run
        except BaseException:
            self._left(live, ticket)
            raise
        self._left(live, ticket)

    async def cancel(self, live: LiveRun) -> None:
        """End a run now, and wait until that is written down."""
        self._stop(live, "cancelled", Cancelled("This run was cancelled."))
        if live.task is not None:
            await asyncio.gather(live.task, return_exceptions=True)

    async def _begin(self, live: LiveRun, change: Change) -> None:
        """Set a run going. What has to last before anything is done for it, lasts when this returns."""
        self.live.add(live)
        live.task = asyncio.create_task(self._work(live))
        await asyncio.sleep(0)  # now it stands in the queue, or was turned away
        try:
            if live.error is not None:
                raise live.error
            if live.promised:
                await self._records.write(change)
            else:
                self.book.put(change)
        except BaseException as error:
            self._stop(live, "cancelled", error)
            self._drop(live)
            if isinstance(error, IntegrityError):
                raise Clash("The same request is being answered by another process.") from None
            raise
        live.recorded.set()

    async def _work(self, live: LiveRun) -> None:
        status: Status = "completed"
        telling, came = Telling(live, self.book, self._watcher), monotonic()
        try:
            patience = math.inf if live.background else None
            async with self._gate.enter(live.caller, patience):
                await live.recorded.wait()
                live.caller = await self._allowance.left(live.caller, self.live.tokens_of(live.caller.key))
                live.status = "running"
                self._watcher.begun(live, monotonic() - came)
                self.book.put(archive.started(live.id))
                if live.first > 1:
                    telling.tell(Noted(text="The run begins again."), 0)
                response = await live.job.perform(self._answers(), self._place(live), telling)
            live.response = rounded(response.model_dump(mode="json"))
        except asyncio.CancelledError:
            status = live.stopping or "interrupted"
        except Draining as error:
            status, live.error = "interrupted", error
        except Exception as error:
            status, live.error = "failed", error
            if live.background:
                observe(error, live.request_id)
        await self._end(live, status)

    async def _end(self, live: LiveRun, status: Status) -> None:
        """Write the end down, then tell it. A plain answer is told at once: its client has it and needs no record."""
        live.status = status
        told = status == "completed" and not live.promised
        if told:
            live.end(status)
            for _ in range(_TURNS_TO_ANSWER):
                await asyncio.sleep(0)
        self._watcher.ended(live, status, None if live.error is None else Failure.of(live.error).row.code)
        if live.recorded.is_set():
            await self._record_end(live, status, hurry=not told)
        if not told:
            live.end(status)
        self._drop(live)

    async def _record_end(self, live: LiveRun, status: Status, *, hurry: bool) -> None:
        """Until this is written, the run counts as at work. An answer that cannot be written is still an answer."""
        self.book.put(self._allowance.charge(live.caller.key, live.tokens))
        error = None if live.error is None else Failure.of(live.error).body["error"]
        self.book.put(archive.ended(live, status, error))
        try:
            await self.book.flush(hurry=hurry)
        except (RecordsDown, RecordsFull) as error_:
            _LOG.error("the end of %s is not written down yet: %s", live.id, error_)

    def _drop(self, live: LiveRun) -> None:
        self.live.remove(live)
        if live.status == "completed":
            asyncio.get_running_loop().call_later(self._settings.retry_grace_seconds, self.live.forget, live)
        else:
            self.live.forget(live)

    def _stop(self, live: LiveRun, status: Status, error: BaseException) -> None:
        if live.status not in OVER and live.task is not None:
            live.stopping = live.stopping or status
            live.error = live.error or error
            live.task.cancel()

    def _left(self, live: LiveRun, ticket: Ticket) -> None:
        if live.background or live.over or live.watchers:
            return
        if ticket.timed_out:
            grace = self._settings.retry_grace_seconds
            asyncio.get_running_loop().call_later(grace, self._abandon, live)
        else:
            self._abandon(live)

    def _abandon(self, live: LiveRun) -> None:
        if not live.watchers:
            self._stop(live, "cancelled", Cancelled("The client left before its answer was ready."))

    def _place(self, live: LiveRun) -> Place:
        seconds = None if live.deadline is None else max(_INSTANT, live.deadline - monotonic())
        return Place(live.caller, live.id, live.created_at, seconds)
