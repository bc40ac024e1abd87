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
    """A request that is over. `route` is a template, None if no route was found; `error` is a code of app.errors."""

    method: str
    route: str | None
    status: int
    seconds: float
    request_id: str
    tenant: str | None = None
    run_id: str | None = None
    error: str | None = None


class RunObserver(Protocol):
    """Watches the service at work. It is told in the event loop, so it must not wait for anything, nor raise."""

    def on_request_end(self, request: FinishedRequest) -> None:
        """A request is over: its last byte was sent, or its client is gone."""

    def on_run_start(self, live: ActiveRun, waited: float) -> None:
        """A run begins to work, in the task that does it, after so many seconds in the queue."""

    def on_event(self, live: ActiveRun, event: Event, choice: int) -> None:
        """Something happened in a run."""

    def on_run_end(self, live: ActiveRun, status: RunStatus, error: str | None) -> None:
        """A run is over; it may never have begun to work. `error` is a code of app.errors."""


class Tracing(RunObserver, Protocol):
    """Makes spans of what it is told; see `app.telemetry.tracing`, which is imported only where it is wanted."""

    @property
    def middleware(self) -> Sequence[Middleware]:
        """A span for every request."""

    def headers(self) -> Mapping[str, str]:
        """What the model server is told of the trace."""

    def close(self) -> None:
        """Send what is left; blocks."""


class RunObservers:
    """Several watchers as one."""

    def __init__(self, watchers: Sequence[RunObserver]) -> None:
        self._watchers = tuple(watchers)

    def on_request_end(self, request: FinishedRequest) -> None:
        """Tell each."""
        for each in self._watchers:
            each.on_request_end(request)

    def on_run_start(self, live: ActiveRun, waited: float) -> None:
        """Tell each."""
        for each in self._watchers:
            each.on_run_start(live, waited)

    def on_event(self, live: ActiveRun, event: Event, choice: int) -> None:
        """Tell each."""
        for each in self._watchers:
            each.on_event(live, event, choice)

    def on_run_end(self, live: ActiveRun, status: RunStatus, error: str | None) -> None:
        """Tell each."""
        for each in self._watchers:
            each.on_run_end(live, status, error)


def report_of(live: ActiveRun) -> dict[str, Any]:
    """The report of a run that was completed, whichever face it has; of the first of several answers."""
    response = live.response or {}
    found: dict[str, Any] = (response.get("secondlook") or response).get("report") or {}
    return found


def strategy_of(live: ActiveRun) -> str | None:
    """The strategy or preset that a run followed, if it was completed: a name of the catalogue."""
    used = report_of(live).get("strategy") or {}
    name: str | None = used.get("preset") or used.get("name")
    return name
