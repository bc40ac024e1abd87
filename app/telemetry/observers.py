"""The interface of observers of requests and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.middleware import Middleware

from agents.core.trace import Event
from app.runs.run import ActiveRun
from app.runs.schemas import RunStatus


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """A finished request. `route` is a template, None if no route was found; `error` is a code of app.errors."""

    method: str
    route: str | None
    status: int
    seconds: float
    request_id: str
    tenant: str | None = None
    run_id: str | None = None
    error: str | None = None


class RunObserver(Protocol):
    """Observes requests and runs. Called on the event loop: must not block or raise."""

    def on_request_end(self, request: FinishedRequest) -> None:
        """A request has ended: its last byte was sent, or its client has disconnected."""

    def on_run_start(self, run: ActiveRun, waited: float) -> None:
        """A run starts, in its own task, after `waited` seconds in the queue."""

    def on_event(self, run: ActiveRun, event: Event, choice: int) -> None:
        """A run has added an event to its trace."""

    def on_run_end(self, run: ActiveRun, status: RunStatus, error: str | None) -> None:
        """A run has ended; it may never have started. `error` is a code of app.errors."""


class Tracing(RunObserver, Protocol):
    """An observer that makes spans; see `app.telemetry.tracing`, which is imported only if tracing is on."""

    @property
    def middleware(self) -> Sequence[Middleware]:
        """A span for every request."""

    def headers(self) -> Mapping[str, str]:
        """Trace headers for requests to the model server."""

    def close(self) -> None:
        """Flush and shut down. Blocks."""


class RunObservers:
    """Several observers as one."""

    def __init__(self, watchers: Sequence[RunObserver]) -> None:
        self._watchers = tuple(watchers)

    def on_request_end(self, request: FinishedRequest) -> None:
        """Pass it on to each observer."""
        for each in self._watchers:
            each.on_request_end(request)

    def on_run_start(self, run: ActiveRun, waited: float) -> None:
        """Pass it on to each observer."""
        for each in self._watchers:
            each.on_run_start(run, waited)

    def on_event(self, run: ActiveRun, event: Event, choice: int) -> None:
        """Pass it on to each observer."""
        for each in self._watchers:
            each.on_event(run, event, choice)

    def on_run_end(self, run: ActiveRun, status: RunStatus, error: str | None) -> None:
        """Pass it on to each observer."""
        for each in self._watchers:
            each.on_run_end(run, status, error)


def report_of(run: ActiveRun) -> dict[str, Any]:
    """The report of a completed run, of the native or the chat API; of several answers, the first one's."""
    response = run.response or {}
    found: dict[str, Any] = (response.get("secondlook") or response).get("report") or {}
    return found


def strategy_of(run: ActiveRun) -> str | None:
    """The strategy or preset that a completed run used: a name of the catalogue."""
    used = report_of(run).get("strategy") or {}
    name: str | None = used.get("preset") or used.get("name")
    return name
