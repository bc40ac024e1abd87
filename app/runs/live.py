"""A run while it lives in this process: what it has told so far, who follows it, what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.trace import Event
from app.caller import Caller
from app.report import rounded
from app.runs.job import Job

Status = Literal["queued", "running", "completed", "failed", "cancelled", "interrupted"]
OVER = frozenset({"completed", "failed", "cancelled", "interrupted"})


@dataclass(frozen=True, slots=True)
class Told:
    """An event of a run. `seq` counts them from 1; `choice` is the answer that it belongs to."""

    seq: int
    choice: int
    event: Event

    @property
    def data(self) -> dict[str, Any]:
        """The event as JSON."""
        found: dict[str, Any] = rounded(self.event.model_dump(mode="json"))
        return found


@dataclass(eq=False)
class LiveRun:
    """One run. `first` is the number of its first event in this process; those before are in the records.

    `response` is as it goes over the wire. `error` is what a failed run raised. `recorded`: it is in the records, or
    on its way there before all that it will tell. `stopping` is what becomes of it now that it is stopped.
    """

    id: str
    job: Job
    caller: Caller
    request_id: str
    background: bool = False
    digest: str | None = None
    idempotency_key: str | None = None
    first: int = 1
    created_at: float = field(default_factory=time.time)
    deadline: float | None = None
    status: Status = "queued"
    events: list[Told] = field(default_factory=list)
    response: dict[str, Any] | None = None
    error: BaseException | None = None
    watchers: int = 0
    task: asyncio.Task[None] | None = None
    stopping: Status | None = None

    def __post_init__(self) -> None:
        self.recorded = asyncio.Event()
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def promised(self) -> bool:
        """Whether somebody may come back for it, so that what they are told of it has to last."""
        return self.background or self.idempotency_key is not None

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self._over.is_set()

    @property
    def tokens(self) -> int:
        """Tokens read and written so far."""
        bills = (
            (getattr(each.event, "prompt_tokens", 0), getattr(each.event, "completion_tokens", 0))
            for each in self.events
        )
        return sum(map(sum, bills))

    def tell(self, event: Event, choice: int) -> Told:
        """Add an event; whoever follows hears it."""
        told = Told(self.first + len(self.events), choice, event)
        self.events.append(told)
        self._wake()
        return told

    def end(self, status: Status) -> None:
        """The end: nothing more will be told."""
        self.status = status
        self._over.set()
        self._wake()

    def restore(self, told: Sequence[Told], response: dict[str, Any]) -> LiveRun:
        """Be a run that was completed before."""
        self.events, self.response, self.first = list(told), response, told[0].seq if told else 1
        self.end("completed")
        return self

    async def gone(self) -> None:
        """Wait for the end, whatever it is."""
        await self._over.wait()

    async def ended(self) -> dict[str, Any]:
        """Wait for the end; the response. Raises what the run raised."""
        await self._over.wait()
        if self.error is not None:
            raise self.error
        return self.response or {}

    async def follow(self, after: int = 0, quiet: float | None = None) -> AsyncGenerator[Told | None]:
        """Its events after one of them until the end; None after each `quiet` seconds of silence."""
        place = max(0, after + 1 - self.first)
        while True:
            news = self._news
            while place < len(self.events):
                place += 1
                yield self.events[place - 1]
            if self.over:
                return
            try:
                async with asyncio.timeout(quiet):
                    await news.wait()
            except TimeoutError:
                yield None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody waits for it meanwhile."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
