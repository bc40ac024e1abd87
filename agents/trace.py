"""What happened in a run, as typed events: streamed while it works, kept whole for its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from agents.draft import Draft, Reader, Settled
from agents.engine import Hear


class _Event(BaseModel):
    """Nobody changes an event, but for the trace that stamps it."""

    at: float = Field(default=0.0, description="Seconds since the run began.")


class Began(_Event):
    """A round or a stage begins."""

    event: Literal["began"] = "began"
    span: str


class Ended(_Event):
    """A round or a stage ends."""

    event: Literal["ended"] = "ended"
    span: str


class Looked(_Event):
    """Frames were decoded, or found in the cache."""

    event: Literal["looked"] = "looked"
    times: tuple[float, ...] = Field(description="Seconds that the frames show.")
    seconds: float


class Asked(_Event):
    """The model was asked once; it may have drawn several replies."""

    event: Literal["asked"] = "asked"
    call: int = Field(default=0, description="Its number among the calls of this run, from 1, as they began.")
    purpose: str
    times: tuple[float, ...]
    replies: tuple[str, ...]
    cut: int = Field(default=0, description="How many of the replies ended because they had become too long.")
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float


class Used(_Event):
    """A tool was applied. What it found in the film is told as data, its pictures by their seconds."""

    event: Literal["used"] = "used"
    tool: str
    arguments: dict[str, Any]
    summary: str
    data: tuple[dict[str, Any], ...] = Field(default=(), description="Lines about some seconds: start, end, text.")
    times: tuple[float, ...] = Field(default=(), description="Seconds of the pictures it shows: their thumbnails.")
    warnings: tuple[str, ...] = ()
    error: str | None = Field(default=None, description="Code of what went wrong.")
    seconds: float


class Proposed(_Event):
    """The best answer so far, which is returned if time or money runs out now."""

    event: Literal["proposed"] = "proposed"
    answer: str | None
    confidence: float | None


class Noted(_Event):
    """Something that a reader of the trace should know."""

    event: Literal["noted"] = "noted"
    text: str
    data: dict[str, Any] = {}


class Stopped(_Event):
    """The run is over."""

    event: Literal["stopped"] = "stopped"
    reason: str


Event = Annotated[Began | Ended | Looked | Asked | Used | Proposed | Noted | Stopped, Field(discriminator="event")]
Listener = Callable[[Event], None]


class Trace:
    """The events of one run in order. A listener hears each one as it happens.

    A `reader` sees what the model writes while it writes, of one call at a time; that is no part of the trace.
    """

    def __init__(self, listener: Listener | None = None, reader: Reader | None = None) -> None:
        self.events: list[Event] = []
        self._listener = listener
        self._reader = reader
        self._calls = 0
        self._shown: int | None = None
        self._began = perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return perf_counter() - self._began

    def call(self) -> int:
        """A number for a call that begins."""
        self._calls += 1
        return self._calls

    @contextmanager
    def draft(self, call: int, purpose: str, settled: Settled | None = None) -> Iterator[Hear | None]:
        """Where the words of a call go while it is made; None if nobody reads them, or another's are being read."""
        if self._reader is None or self._shown is not None:
            yield None
            return
        self._shown = call
        try:
            yield Draft(call, purpose, self._reader, settled).hear
        finally:
            self._shown = None

    def add(self, event: Event) -> None:
        """Stamp a new event with the time and tell the listener."""
        event.at = round(self.seconds, 4)
        self.events.append(event)
        if self._listener is not None:
            self._listener(event)
