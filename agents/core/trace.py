"""The events of a run, in order, and the deltas of a reply while it is being written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.engines.base import OnText


class Delta(BaseModel):
    """A piece of a reply that is being written. The event `asked` of the same call has the whole reply."""

    model_config = ConfigDict(frozen=True)

    event: Literal["delta"] = "delta"
    call: int = Field(description="Number of the call to the model, as in `asked`.")
    purpose: str
    part: Literal["reply", "answer"] = Field(
        description="reply: the next words that the model writes. answer: the next words of the answer, among them."
    )
    text: str


OnDelta = Callable[[Delta], None]
"""Somebody who reads along."""
StablePrefix = Callable[[str], str]
"""What of the answer is sure, given the reply so far: a longer reply only adds to it."""


class ReplyStream:
    """One reply on its way to a reader. With `settled` the reply is the last one, and holds the answer."""

    def __init__(self, call: int, purpose: str, reader: OnDelta, settled: StablePrefix | None = None) -> None:
        self._call = call
        self._purpose = purpose
        self._reader = reader
        self._settled = settled
        self._reply = self._answer = ""

    def on_text(self, piece: str) -> None:
        """Pass on the next piece of the reply."""
        if not piece:
            return
        self._reply += piece
        self._tell("reply", piece)
        sure = self._settled(self._reply) if self._settled else ""
        if more := sure[len(self._answer) :]:
            self._answer = sure
            self._tell("answer", more)

    def _tell(self, part: Literal["reply", "answer"], text: str) -> None:
        self._reader(Delta(call=self._call, purpose=self._purpose, part=part, text=text))


class _TraceEvent(BaseModel):
    """Nobody changes an event, but for the trace that stamps it."""

    at: float = Field(default=0.0, description="Seconds since the run began.")


class SpanBeginEvent(_TraceEvent):
    """A round or a stage begins."""

    event: Literal["began"] = "began"
    span: str


class SpanEndEvent(_TraceEvent):
    """A round or a stage ends."""

    event: Literal["ended"] = "ended"
    span: str


class FramesEvent(_TraceEvent):
    """Frames were decoded, or found in the cache."""

    event: Literal["looked"] = "looked"
    times: tuple[float, ...] = Field(description="Seconds that the frames show.")
    seconds: float


class ModelEvent(_TraceEvent):
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


class ToolEvent(_TraceEvent):
    """A tool was applied. What it found in the video is told as data, its pictures by their seconds."""

    event: Literal["used"] = "used"
    tool: str
    arguments: dict[str, Any]
    summary: str
    data: tuple[dict[str, Any], ...] = Field(default=(), description="Lines about some seconds: start, end, text.")
    times: tuple[float, ...] = Field(default=(), description="Seconds of the pictures it shows: their thumbnails.")
    warnings: tuple[str, ...] = ()
    error: str | None = Field(default=None, description="Code of what went wrong.")
    seconds: float


class AnswerEvent(_TraceEvent):
    """The best answer so far, which is returned if time or money runs out now."""

    event: Literal["proposed"] = "proposed"
    answer: str | None
    confidence: float | None


class InfoEvent(_TraceEvent):
    """Something that a reader of the trace should know."""

    event: Literal["noted"] = "noted"
    text: str
    data: dict[str, Any] = {}


class StopEvent(_TraceEvent):
    """The run is over."""

    event: Literal["stopped"] = "stopped"
    reason: str


Event = Annotated[
    SpanBeginEvent | SpanEndEvent | FramesEvent | ModelEvent | ToolEvent | AnswerEvent | InfoEvent | StopEvent,
    Field(discriminator="event"),
]
OnEvent = Callable[[Event], None]


class Trace:
    """The events of one run in order. A listener hears each one as it happens.

    A `reader` sees what the model writes while it writes, of one call at a time; that is no part of the trace.
    """

    def __init__(self, listener: OnEvent | None = None, reader: OnDelta | None = None) -> None:
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
    def reply_stream(self, call: int, purpose: str, settled: StablePrefix | None = None) -> Iterator[OnText | None]:
        """Where the words of a call go while it is made; None if nobody reads them, or another's are being read."""
        if self._reader is None or self._shown is not None:
            yield None
            return
        self._shown = call
        try:
            yield ReplyStream(call, purpose, self._reader, settled).on_text
        finally:
            self._shown = None

    def add(self, event: Event) -> None:
        """Stamp a new event with the time and tell the listener."""
        event.at = round(self.seconds, 4)
        self.events.append(event)
        if self._listener is not None:
            self._listener(event)
