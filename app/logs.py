"""The service's own log, uvicorn's with it: lines to read, or one JSON object a line.

Lines about requests and runs carry `fields`. No line has a key, a question, an answer, or a URL's query in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from logging import Formatter, LogRecord
from typing import Any, Literal

from uvicorn.logging import DefaultFormatter

Format = Literal["text", "json"]


def logging_as(form: Format) -> dict[str, Any]:
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
    """uvicorn's lines, with the fields after them."""

    def formatMessage(self, record: LogRecord) -> str:
        """The line."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return f"{super().formatMessage(record)} {fields}".rstrip()


class JsonFormatter(Formatter):
    """One object a line: time (UTC), level, logger, message, the fields, and the traceback of an exception."""

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
