"""A run while it lives in this process: what it has told so far, who follows it, what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.draft import Delta
from agents.trace import Asked, Event
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


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of what the model writes just now for one of the answers. It is shown to who follows, and forgotten."""

    choice: int
    delta: Delta

    @property
    def data(self) -> dict[str, Any]:
        """The piece as JSON."""
        return self.delta.model_dump(mode="json")


@dataclass(eq=False)
class LiveRun:
    """One run. `first` is the number of its first event in this process; those before are in the records.

    `drafts` are the calls, one for each answer at most, whose words are told while they are written.
    `response` is as it goes over the wire. `error` is what a failed run raised. `recorded`: it is in the records, or
    on its way there before all that it will tell. `tokens` are those read and written so far. `stopping` is what
    becomes of it now that it is stopped.
    """

    id: str
    job: Job
    caller: Caller
    request_id: str
    background: bool = False
    streamed: bool = False
    digest: str | None = None
    idempotency_key: str | None = None
    first: int = 1
    created_at: float = field(default_factory=time.time)
    deadline: float | None = None
    status: Status = "queued"
    events: list[Told] = field(default_factory=list)
    drafts: dict[int, list[Heard]] = field(default_factory=dict)
    response: dict[str, Any] | None = None
    error: BaseException | None = None
    watchers: int = 0
    task: asyncio.Task[None] | None = None
    stopping: Status | None = None

    def __post_init__(self) -> None:
        self.tokens = 0
        self.recorded = asyncio.Event()
        self._news = asyncio.Event()
        self._over = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def promised(self) -> bool:
        """Whether somebody may come back for it, so that what they are told of it has to last."""
        return self.background or self.idempotency_key is not None

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self._over

    def tell(self, event: Event, choice: int) -> Told:
        """Add an event; whoever follows hears it. A call that was made is told whole: its draft is over."""
        told = Told(self.first + len(self.events), choice, event)
        self.events.append(told)
        self.tokens += _tokens(event)
        if isinstance(event, Asked) and _call(self.drafts.get(choice)) == event.call:
            del self.drafts[choice]
        self._wake()
        return told

    def hear(self, delta: Delta, choice: int) -> None:
        """Add a piece of a draft; another call's draft that was not finished is given up."""
        if _call(self.drafts.get(choice)) != delta.call:
            self.drafts[choice] = []
        self.drafts[choice].append(Heard(choice, delta))
        self._wake()

    def end(self, status: Status) -> None:
        """The end: nothing more will be told."""
        self.status = status
        self._over = True
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._waiting.clear()
        self._wake()

    def restore(self, told: Sequence[Told], response: dict[str, Any]) -> LiveRun:
        """Be a run that was completed before."""
        self.events, self.response, self.first = list(told), response, told[0].seq if told else 1
        self.tokens = sum(_tokens(each.event) for each in told)
        self.end("completed")
        return self

    def ending(self) -> asyncio.Future[None]:
        """Done at the end, whatever it is. Belongs to the caller, who may cancel it."""
        ending = asyncio.get_running_loop().create_future()
        if self.over:
            ending.set_result(None)
        else:
            self._waiting.append(ending)
        return ending

    async def ended(self) -> dict[str, Any]:
        """Wait for the end; the response. Raises what the run raised."""
        await self.ending()
        return self.outcome()

    def outcome(self) -> dict[str, Any]:
        """The response of a run that is over. Raises what the run raised."""
        if self.error is not None:
            raise self.error
        return self.response or {}

    async def follow(self, after: int = 0, quiet: float | None = None) -> AsyncGenerator[Told | Heard | None]:
        """Its events after one of them until the end, and what is written meanwhile.

        Who is slow misses the rest of a draft, and finds it in the event. None after each `quiet` seconds of silence.
        """
        place, read = max(0, after + 1 - self.first), Reading()
        while True:
            news = self._news
            if place < len(self.events):
                place += 1
                yield self.events[place - 1]
                continue
            if self.over:
                return
            if (heard := read.next(self.drafts)) is not None:
                yield heard
                continue
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


class Reading:
    """How far somebody has read the drafts of a run."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[int, int]] = {}

    def next(self, drafts: Mapping[int, Sequence[Heard]]) -> Heard | None:
        """The next piece; None if there is none yet."""
        for choice, draft in drafts.items():
            call, place = self._read.get(choice, (0, 0))
            place = place if call == _call(draft) else 0
            if place < len(draft):
                self._read[choice] = draft[place].delta.call, place + 1
                return draft[place]
        return None


def _tokens(event: Event) -> int:
    """Tokens that were read and written for an event."""
    return event.prompt_tokens + event.completion_tokens if isinstance(event, Asked) else 0


def _call(draft: Sequence[Heard] | None) -> int | None:
    """The number of the call that writes a draft."""
    return draft[0].delta.call if draft else None
