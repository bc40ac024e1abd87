"""Who watches requests and runs, told of each at once and in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.middleware import Middleware

from agents.trace import Event
from app.runs.live import LiveRun, Status


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that is over. `route` is a template, None if no route was found; `error` is a code of app.errors."""

    method: str
    route: str | None
    status: int
    seconds: float
    request_id: str
    tenant: str | None = None
    run_id: str | None = None
    error: str | None = None


class Watcher(Protocol):
    """Watches the service at work. It is told in the event loop, so it must not wait for anything, nor raise."""

    def answered(self, request: Answered) -> None:
        """A request is over: its last byte was sent, or its client is gone."""

    def begun(self, live: LiveRun, waited: float) -> None:
        """A run begins to work, in the task that does it, after so many seconds in the queue."""

    def told(self, live: LiveRun, event: Event, choice: int) -> None:
        """Something happened in a run."""

    def ended(self, live: LiveRun, status: Status, error: str | None) -> None:
        """A run is over; it may never have begun to work. `error` is a code of app.errors."""


class Tracing(Watcher, Protocol):
    """Makes spans of what it is told; see `app.telemetry.spans`, which is imported only where it is wanted."""

    @property
    def middleware(self) -> Sequence[Middleware]:
        """A span for every request."""

    def headers(self) -> Mapping[str, str]:
        """What the model server is told of the trace."""

    def close(self) -> None:
        """Send what is left; blocks."""


class Watchers:
    """Several watchers as one."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)

    def answered(self, request: Answered) -> None:
        """Tell each."""
        for each in self._watchers:
            each.answered(request)

    def begun(self, live: LiveRun, waited: float) -> None:
        """Tell each."""
        for each in self._watchers:
            each.begun(live, waited)

    def told(self, live: LiveRun, event: Event, choice: int) -> None:
        """Tell each."""
        for each in self._watchers:
            each.told(live, event, choice)

    def ended(self, live: LiveRun, status: Status, error: str | None) -> None:
        """Tell each."""
        for each in self._watchers:
            each.ended(live, status, error)


def report_of(live: LiveRun) -> dict[str, Any]:
    """The report of a run that was completed, whichever face it has; of the first of several answers."""
    response = live.response or {}
    found: dict[str, Any] = (response.get("secondlook") or response).get("report") or {}
    return found


def strategy_of(live: LiveRun) -> str | None:
    """The strategy or preset that a run followed, if it was completed: a name of the catalogue."""
    used = report_of(live).get("strategy") or {}
    name: str | None = used.get("preset") or used.get("name")
    return name
