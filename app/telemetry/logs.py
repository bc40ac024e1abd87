"""Logging: the formats, as text or JSON lines, and one line for every request and every run.

Lines about requests and runs carry `fields`. No line has a key, a question, an answer, or a URL's query in it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from logging import Formatter, LogRecord
from time import time
from typing import Any, Literal

from uvicorn.logging import DefaultFormatter

from agents.core.trace import Event, ModelEvent
from app.runs.run import ActiveRun
from app.runs.schemas import RunStatus
from app.telemetry.observers import FinishedRequest, report_of, strategy_of

LogFormat = Literal["text", "json"]


def log_config(form: LogFormat) -> dict[str, Any]:
    """Settings for `logging.config`: everything goes to stderr. Requests have our own lines, not uvicorn's."""
    to_stderr = {"handlers": ["stderr"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": TextFormatter, "fmt": "%(levelprefix)s %(message)s"},
            "json": {"()": JsonFormatter},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": form, "stream": "ext://sys.stderr"}},
        "loggers": {
            "secondlook": {**to_stderr, "level": "INFO"},
            "uvicorn": {**to_stderr, "level": "INFO"},
            "uvicorn.access": {"handlers": [], "propagate": False},
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
    }


class TextFormatter(DefaultFormatter):
    """uvicorn's format, with our fields after the message."""

    def formatMessage(self, record: LogRecord) -> str:
        """The line."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{super().formatMessage(record)} {fields}".rstrip()


class JsonFormatter(Formatter):
    """One JSON object per line: time (UTC), level, logger, message, fields, traceback."""

    def format(self, record: LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        line.update(_fields(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _fields(record: LogRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(record, "fields", {})
    return found


_REQUESTS = logging.getLogger("secondlook.requests")
_RUNS = logging.getLogger("secondlook.runs")
_PROBE_ROUTES = frozenset({"/health", "/ready", "/metrics"})
"""Polled every few seconds: logged only when refused or failed."""
_EXPECTED_STATUSES = (200, 503)


class AccessLog:
    """Logs who requested what and how it ended, never questions or answers."""

    def on_request_end(self, request: FinishedRequest) -> None:
        """Log a request by its route: paths are written by clients."""
        quiet = request.route in _PROBE_ROUTES and request.status in _EXPECTED_STATUSES
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

    def on_run_start(self, run: ActiveRun, waited: float) -> None:
        """Not logged: the end of the run is."""

    def on_event(self, run: ActiveRun, event: Event, choice: int) -> None:
        """Not logged: events are in the run's trace."""

    def on_run_end(self, run: ActiveRun, status: RunStatus, error: str | None) -> None:
        """Log a run that has ended."""
        calls = [told.event for told in run.events if isinstance(told.event, ModelEvent)]
        _write(
            _RUNS,
            logging.INFO,
            "run",
            request_id=run.request_id,
            run_id=run.id,
            tenant=run.caller.tenant,
            key=run.caller.key,
            strategy=strategy_of(run),
            status=status,
            stopped=report_of(run).get("stopped"),
            ms=round((time() - run.created_at) * 1000, 1),
            calls=len(calls),
            frames=sum(len(call.times) for call in calls),
            prompt_tokens=sum(call.prompt_tokens for call in calls),
            completion_tokens=sum(call.completion_tokens for call in calls),
            error=error,
        )


def _write(log: logging.Logger, level: int, message: str, **fields: Any) -> None:
    if log.isEnabledFor(level):
        log.log(level, message, extra={"fields": {name: value for name, value in fields.items() if value is not None}})
