"""A run in this process: its job, its events so far, who follows it, and the registry that finds it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel

from agents.core.trace import Delta, Event, ModelEvent, OnDelta
from app.access.caller import Caller
from app.answers.preferences import AnswerSpec, SamplingPreferences
from app.answers.response import round_floats
from app.answers.schemas import AnswerRequest, AnswerResponse
from app.answers.service import AnswerService
from app.runs.schemas import RunStatus


class EventSink(Protocol):
    """Hears what happens, each with the number of the answer that it belongs to."""

    def on_event(self, event: Event, choice: int) -> None:
        """An event."""

    def on_delta(self, choice: int) -> OnDelta | None:
        """Who reads along while the model writes; None if nobody does."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """Where a job is done: for whom, as which run, since when (seconds since 1970), and in how many seconds."""

    caller: Caller
    run_id: str
    created_at: float
    seconds: float | None = None


class Job(Protocol):
    """A request of one of the faces. It has been checked: doing it fails only for what could not be known before."""

    endpoint: ClassVar[str]

    @property
    def model(self) -> str | None:
        """The model's name as the request says it, if it does."""

    def document(self) -> dict[str, Any]:
        """All that `load` needs, as JSON."""

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """The job of a document."""

    def check(self, answers: AnswerService) -> None:
        """Raise what is wrong with it, before it is begun."""

    async def run(self, answers: AnswerService, place: JobContext, teller: EventSink) -> BaseModel:
        """Do it and return the response."""


@dataclass(frozen=True)
class AnswerJob:
    """A question by our own wire."""

    request: AnswerRequest
    endpoint: ClassVar[str] = "/v1/answers"
    model: ClassVar[None] = None

    def document(self) -> dict[str, Any]:
        """The request."""
        return {"request": self.request.model_dump(mode="json", exclude_none=True)}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """The job of a request."""
        return cls(AnswerRequest.model_validate(document["request"]))

    def check(self, answers: AnswerService) -> None:
        """Raise BadStrategy or UnfitEngine."""
        answers.check(self._order)

    async def run(self, answers: AnswerService, place: JobContext, teller: EventSink) -> AnswerResponse:
        """Answer the question."""
        order = self._order.with_timeout(place.seconds)
        return await answers.answer(
            order, place.caller, lambda event: teller.on_event(event, 0), teller.on_delta(0), run_id=place.run_id
        )

    @property
    def _order(self) -> AnswerSpec:
        return AnswerSpec(self.request, SamplingPreferences(fps=self.request.fps))


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An event of a run. `seq` counts them from 1; `choice` is the answer that it belongs to."""

    seq: int
    choice: int
    event: Event

    @property
    def data(self) -> dict[str, Any]:
        """The event as JSON."""
        found: dict[str, Any] = round_floats(self.event.model_dump(mode="json"))
        return found


@dataclass(frozen=True, slots=True)
class RunDelta:
    """A piece of what the model writes just now for one of the answers. It is shown to who follows, and forgotten."""

    choice: int
    delta: Delta

    @property
    def data(self) -> dict[str, Any]:
        """The piece as JSON."""
        return self.delta.model_dump(mode="json")


@dataclass(eq=False)
class ActiveRun:
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
    first_seq: int = 1
    created_at: float = field(default_factory=time.time)
    deadline: float | None = None
    status: RunStatus = "queued"
    events: list[RunEvent] = field(default_factory=list)
    deltas: dict[int, list[RunDelta]] = field(default_factory=dict)
    response: dict[str, Any] | None = None
    error: BaseException | None = None
    watchers: int = 0
    task: asyncio.Task[None] | None = None
    stopping: RunStatus | None = None

    def __post_init__(self) -> None:
        self.tokens = 0
        self.recorded = asyncio.Event()
        self._news = asyncio.Event()
        self._over = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def durable(self) -> bool:
        """Whether somebody may come back for it, so that what they are told of it has to last."""
        return self.background or self.idempotency_key is not None

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self._over

    def add_event(self, event: Event, choice: int) -> RunEvent:
        """Add an event; whoever follows hears it. A call that was made is told whole: its draft is over."""
        told = RunEvent(self.first_seq + len(self.events), choice, event)
        self.events.append(told)
        self.tokens += _tokens(event)
        if isinstance(event, ModelEvent) and _call_of(self.deltas.get(choice)) == event.call:
            del self.deltas[choice]
        self._wake()
        return told

    def add_delta(self, delta: Delta, choice: int) -> None:
        """Add a piece of a draft; another call's draft that was not finished is given up."""
        if _call_of(self.deltas.get(choice)) != delta.call:
            self.deltas[choice] = []
        self.deltas[choice].append(RunDelta(choice, delta))
        self._wake()

    def finish(self, status: RunStatus) -> None:
        """The end: nothing more will be told."""
        self.status = status
        self._over = True
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._waiting.clear()
        self._wake()

    def restore(self, told: Sequence[RunEvent], response: dict[str, Any]) -> ActiveRun:
        """Be a run that was completed before."""
        self.events, self.response, self.first_seq = list(told), response, told[0].seq if told else 1
        self.tokens = sum(_tokens(each.event) for each in told)
        self.finish("completed")
        return self

    def finished(self) -> asyncio.Future[None]:
        """Done at the end, whatever it is. Belongs to the caller, who may cancel it."""
        ending = asyncio.get_running_loop().create_future()
        if self.over:
            ending.set_result(None)
        else:
            self._waiting.append(ending)
        return ending

    async def result(self) -> dict[str, Any]:
        """Wait for the end; the response. Raises what the run raised."""
        await self.finished()
        return self.outcome()

    def outcome(self) -> dict[str, Any]:
        """The response of a run that is over. Raises what the run raised."""
        if self.error is not None:
            raise self.error
        return self.response or {}

    async def follow(self, after: int = 0, quiet: float | None = None) -> AsyncGenerator[RunEvent | RunDelta | None]:
        """Its events after one of them until the end, and what is written meanwhile.

        Who is slow misses the rest of a draft, and finds it in the event. None after each `quiet` seconds of silence.
        """
        place, read = max(0, after + 1 - self.first_seq), DeltaCursor()
        while True:
            news = self._news
            if place < len(self.events):
                place += 1
                yield self.events[place - 1]
                continue
            if self.over:
                return
            if (heard := read.next(self.deltas)) is not None:
                yield heard
                continue
            try:
                async with asyncio.timeout(quiet):
                    await news.wait()
            except TimeoutError:
                yield None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Somebody waits for it meanwhile."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class DeltaCursor:
    """How far somebody has read the drafts of a run."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[int, int]] = {}

    def next(self, drafts: Mapping[int, Sequence[RunDelta]]) -> RunDelta | None:
        """The next piece; None if there is none yet."""
        for choice, draft in drafts.items():
            call, place = self._read.get(choice, (0, 0))
            place = place if call == _call_of(draft) else 0
            if place < len(draft):
                self._read[choice] = draft[place].delta.call, place + 1
                return draft[place]
        return None


def _tokens(event: Event) -> int:
    """Tokens that were read and written for an event."""
    return event.prompt_tokens + event.completion_tokens if isinstance(event, ModelEvent) else 0


def _call_of(draft: Sequence[RunDelta] | None) -> int | None:
    """The number of the call that writes a draft."""
    return draft[0].delta.call if draft else None


RequestKey = tuple[str, str, str]
K = TypeVar("K")


class RunRegistry:
    """Runs by id, by idempotency key, and by what was asked."""

    def __init__(self) -> None:
        self._runs: dict[str, ActiveRun] = {}
        self._keyed: dict[tuple[str, str], ActiveRun] = {}
        self._twins: dict[RequestKey, ActiveRun] = {}

    def __iter__(self) -> Iterator[ActiveRun]:
        return iter(list(self._runs.values()))

    def add(self, live: ActiveRun) -> None:
        """From now on it is found."""
        self._runs[live.id] = live
        if live.idempotency_key is not None:
            self._keyed[live.caller.tenant, live.idempotency_key] = live
        if (twin := _request_key(live)) is not None:
            self._twins[twin] = live

    def remove(self, live: ActiveRun) -> None:
        """It is found in the records now; a retry of its request may still come (`forget`)."""
        _drop(self._runs, live.id, live)
        if live.idempotency_key is not None:
            _drop(self._keyed, (live.caller.tenant, live.idempotency_key), live)

    def forget_request(self, live: ActiveRun) -> None:
        """No retry is expected any more."""
        if (twin := _request_key(live)) is not None:
            _drop(self._twins, twin, live)

    def tokens_of(self, key: str) -> int:
        """What the runs of a key that are not over have read and written."""
        return sum(live.tokens for live in self if live.caller.key == key)

    def get(self, tenant: str, run_id: str) -> ActiveRun | None:
        """A run of this tenant."""
        live = self._runs.get(run_id)
        return live if live is not None and live.caller.tenant == tenant else None

    def by_idempotency_key(self, tenant: str, key: str) -> ActiveRun | None:
        """The run of an idempotency key."""
        return self._keyed.get((tenant, key))

    def by_request(self, tenant: str, endpoint: str, digest: str | None) -> ActiveRun | None:
        """A run of the same request, under way or just over."""
        return None if digest is None else self._twins.get((tenant, endpoint, digest))


def _request_key(live: ActiveRun) -> RequestKey | None:
    return None if live.digest is None else (live.caller.tenant, live.job.endpoint, live.digest)


def _drop(found: dict[K, ActiveRun], key: K, live: ActiveRun) -> None:
    if found.get(key) is live:
        del found[key]
