"""One line in the log for every request, and one for every run, when it is over."""

from __future__ import annotations

import logging
from time import time
from typing import Any

from agents.trace import Asked, Event
from app.runs.live import LiveRun, Status
from app.telemetry.watching import Answered, report_of, strategy_of

_REQUESTS = logging.getLogger("secondlook.requests")
_RUNS = logging.getLogger("secondlook.runs")
_PROBED = frozenset({"/health", "/ready", "/metrics"})
"""Asked by machines every few seconds: worth a line only when they are refused, or it breaks."""
_ORDINARY = (200, 503)


class Lines:
    """Writes who asked for what and what became of it, never what was said."""

    def answered(self, request: Answered) -> None:
        """A request: by its route, since paths are whatever clients write."""
        quiet = request.route in _PROBED and request.status in _ORDINARY
        _write(
            _REQUESTS,
            logging.DEBUG if quiet else logging.INFO,
            "request",
            request_id=request.request_id,
            method=request.method if request.method.isalpha() and len(request.method) <= 8 else "other",
            route=request.route or "unmatched",
            status=request.status,
            ms=round(request.seconds * 1000, 1),
            tenant=request.tenant,
            run_id=request.run_id,
            error=request.error,
        )

    def begun(self, live: LiveRun, waited: float) -> None:
        """Nothing: the end says all."""

    def told(self, live: LiveRun, event: Event, choice: int) -> None:
        """Nothing: the trace says it."""

    def ended(self, live: LiveRun, status: Status, error: str | None) -> None:
        """A run."""
        calls = [told.event for told in live.events if isinstance(told.event, Asked)]
        _write(
            _RUNS,
            logging.INFO,
            "run",
            request_id=live.request_id,
            run_id=live.id,
            tenant=live.caller.tenant,
            key=live.caller.key,
            strategy=strategy_of(live),
            status=status,
            stopped=report_of(live).get("stopped"),
            ms=round((time() - live.created_at) * 1000, 1),
            calls=len(calls),
            frames=sum(len(call.times) for call in calls),
            prompt_tokens=sum(call.prompt_tokens for call in calls),
            completion_tokens=sum(call.completion_tokens for call in calls),
            error=error,
        )


def _write(log: logging.Logger, level: int, message: str, **fields: Any) -> None:
    if log.isEnabledFor(level):
        log.log(level, message, extra={"fields": {name: value for name, value in fields.items() if value is not None}})
