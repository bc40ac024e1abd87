"""A run in this process: its job, events and followers, and the registry of active runs."""

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
    """Receives the events of a job. `choice` is the index of the answer that an event belongs to."""

    def on_event(self, event: Event, choice: int) -> None:
        """Receive an event."""

    def on_delta(self, choice: int) -> OnDelta | None:
        """A callback for pieces of partial replies; None if nobody follows them."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """The caller and run of a job. `created_at` is a Unix time; `seconds` is the time limit, if any."""

    caller: Caller
    run_id: str
    created_at: float
    seconds: float | None = None


class Job(Protocol):
    """A validated request of one of the APIs, which can be stored and run."""

    endpoint: ClassVar[str]

    @property
    def model(self) -> str | None:
        """The model that the request names, if any."""

    def document(self) -> dict[str, Any]:
        """The job as JSON, for `load`."""

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Restore a job from its document."""

    def check(self, answers: AnswerService) -> None:
        """Raise what is wrong with the request, before the run starts."""

    async def run(self, answers: AnswerService, place: JobContext, teller: EventSink) -> BaseModel:
        """Run the job and return the response."""


@dataclass(frozen=True)
class AnswerJob:
    """A request to /v1/answers."""

    request: AnswerRequest
    endpoint: ClassVar[str] = "/v1/answers"
    model: ClassVar[None] = None

    def document(self) -> dict[str, Any]:
        """The request."""
        return {"request": self.request.model_dump(mode="json", exclude_none=True)}

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Restore a job from its document."""
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
    """A piece of a partial reply for one of the answers. It is sent to followers and not recorded."""

    choice: int
    delta: Delta

    @property
    def data(self) -> dict[str, Any]:
        """The piece as JSON."""
        return self.delta.model_dump(mode="json")


@dataclass(eq=False)
class ActiveRun:
    """A run of this process.

    `first_seq` is the number of its first event here; earlier ones are in the database. `deltas` has the partial reply
    of at most one model call for each answer. `response` is the JSON that clients get, `error` what a failed run
    raised. `recorded` is set once the insertion of the run is written or queued ahead of its events. `tokens` counts
    prompt and completion tokens so far. `deadline` is by the monotonic clock. `stopping` is the final status of a run
    that is being stopped.
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
        """Whether a client may come back for it, so that it must be in the database before it is acknowledged."""
        return self.background or self.idempotency_key is not None

    @property
    def over(self) -> bool:
        """Whether it has finished, in whatever way."""
        return self._over

    def add_event(self, event: Event, choice: int) -> RunEvent:
        """Add an event and wake the followers. A finished model call replaces its partial reply."""
        told = RunEvent(self.first_seq + len(self.events), choice, event)
        self.events.append(told)
        self.tokens += _tokens(event)
        if isinstance(event, ModelEvent) and _call_of(self.deltas.get(choice)) == event.call:
            del self.deltas[choice]
        self._wake()
        return told

    def add_delta(self, delta: Delta, choice: int) -> None:
        """Add a piece of a partial reply; that of another call is dropped."""
        if _call_of(self.deltas.get(choice)) != delta.call:
            self.deltas[choice] = []
        self.deltas[choice].append(RunDelta(choice, delta))
        self._wake()

    def finish(self, status: RunStatus) -> None:
        """Set the final status and resolve all waiters. No events follow."""
        self.status = status
        self._over = True
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._waiting.clear()
        self._wake()

    def restore(self, told: Sequence[RunEvent], response: dict[str, Any]) -> ActiveRun:
        """Load the events and response of a completed run."""
        self.events, self.response, self.first_seq = list(told), response, told[0].seq if told else 1
        self.tokens = sum(_tokens(each.event) for each in told)
        self.finish("completed")
        return self

    def finished(self) -> asyncio.Future[None]:
        """A future resolved when the run finishes; safe to cancel."""
        ending = asyncio.get_running_loop().create_future()
        if self.over:
            ending.set_result(None)
        else:
            self._waiting.append(ending)
        return ending

    async def result(self) -> dict[str, Any]:
        """Wait for the response. Raises what the run raised."""
        await self.finished()
        return self.outcome()

    def outcome(self) -> dict[str, Any]:
        """The response of a finished run. Raises what the run raised."""
        if self.error is not None:
            raise self.error
        return self.response or {}

    async def follow(self, after: int = 0, quiet: float | None = None) -> AsyncGenerator[RunEvent | RunDelta | None]:
        """Yield the events after number `after` until the run finishes, and pieces of partial replies in between.

        A slow follower may miss pieces; the event has the whole reply. Yields None after each `quiet` seconds of
        silence.
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
        """Count one more client as waiting."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class DeltaCursor:
    """The position of a follower in the partial replies of a run."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[int, int]] = {}

    def next(self, drafts: Mapping[int, Sequence[RunDelta]]) -> RunDelta | None:
        """The next unread piece, or None."""
        for choice, draft in drafts.items():
            call, place = self._read.get(choice, (0, 0))
            place = place if call == _call_of(draft) else 0
            if place < len(draft):
                self._read[choice] = draft[place].delta.call, place + 1
                return draft[place]
        return None


def _tokens(event: Event) -> int:
    """Prompt and completion tokens of an event."""
    return event.prompt_tokens + event.completion_tokens if isinstance(event, ModelEvent) else 0


def _call_of(draft: Sequence[RunDelta] | None) -> int | None:
    """The number of the model call behind a partial reply."""
    return draft[0].delta.call if draft else None


RequestKey = tuple[str, str, str]
K = TypeVar("K")


class RunRegistry:
    """Active runs by id, by idempotency key, and by request."""

    def __init__(self) -> None:
        self._runs: dict[str, ActiveRun] = {}
        self._keyed: dict[tuple[str, str], ActiveRun] = {}
        self._twins: dict[RequestKey, ActiveRun] = {}

    def __iter__(self) -> Iterator[ActiveRun]:
        return iter(list(self._runs.values()))

    def add(self, live: ActiveRun) -> None:
        """Register the run."""
        self._runs[live.id] = live
        if live.idempotency_key is not None:
            self._keyed[live.caller.tenant, live.idempotency_key] = live
        if (twin := _request_key(live)) is not None:
            self._twins[twin] = live

    def remove(self, live: ActiveRun) -> None:
        """Remove the run by id and key; retries still find it until `forget_request`."""
        _drop(self._runs, live.id, live)
        if live.idempotency_key is not None:
            _drop(self._keyed, (live.caller.tenant, live.idempotency_key), live)

    def forget_request(self, live: ActiveRun) -> None:
        """Stop matching retries of the request to this run."""
        if (twin := _request_key(live)) is not None:
            _drop(self._twins, twin, live)

    def tokens_of(self, key: str) -> int:
        """Prompt and completion tokens of a key's active runs."""
        return sum(live.tokens for live in self if live.caller.key == key)

    def get(self, tenant: str, run_id: str) -> ActiveRun | None:
        """A run by id, if it belongs to this tenant."""
        live = self._runs.get(run_id)
        return live if live is not None and live.caller.tenant == tenant else None

    def by_idempotency_key(self, tenant: str, key: str) -> ActiveRun | None:
        """The run of an idempotency key."""
        return self._keyed.get((tenant, key))

    def by_request(self, tenant: str, endpoint: str, digest: str | None) -> ActiveRun | None:
        """A run of the same request that is active or has just finished."""
        return None if digest is None else self._twins.get((tenant, endpoint, digest))


def _request_key(live: ActiveRun) -> RequestKey | None:
    return None if live.digest is None else (live.caller.tenant, live.job.endpoint, live.digest)


def _drop(found: dict[K, ActiveRun], key: K, live: ActiveRun) -> None:
    if found.get(key) is live:
        del found[key]
