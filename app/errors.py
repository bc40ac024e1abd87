"""Every error that a caller can meet: one table from exception to HTTP status, type, code and exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from agents.engine import EngineError, TooLong
from agents.presets import BadStrategy
from agents.runner import UnfitEngine
from app.records.store import RecordsDown, RecordsFull
from app.records.version import WrongVersion
from tools.embedder import EmbedderDown
from tools.index import IndexDown, IndexFull
from tools.limits import BadVideo


class Refused(Exception):
    """We will not do this. `param` names the field at fault; `retry_after` is in seconds."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.retry_after = retry_after


class BadRequest(Refused):
    """The request says something that makes no sense."""


class Unauthorized(Refused):
    """There is no valid key in the request."""


class Forbidden(Refused):
    """The operator does not allow this."""


class Missing(Refused):
    """There is no such thing."""


class Clash(Refused):
    """What is asked for contradicts what is there already."""


class TooSlow(Refused):
    """The client has stopped sending."""


class TooLarge(Refused):
    """The body is larger than a limit."""


class WrongType(Refused):
    """The body is not of the type that this route reads."""


class TooFast(Refused):
    """The key has sent as many requests as it may."""


class Spent(Refused):
    """The key has used up what it has."""


class CannotFetch(Refused):
    """A video could not be brought from where the caller says it is."""


class Busy(Refused):
    """As much is running as may run at once."""


class NotReady(Refused):
    """The engine is not loaded yet, or could not be."""


class StorageDown(Exception):
    """The place where files are kept cannot be reached."""


class StorageFull(Exception):
    """The place where files are kept has no room left."""


class Misconfigured(Exception):
    """The operator's settings do not go together, or name what is not there."""


class Draining(NotReady):
    """The service ends its runs, takes no new ones, and stops."""

    def __init__(self) -> None:
        super().__init__("The service is about to stop and takes no new questions.", code="draining")


class Cancelled(Exception):
    """Somebody has cancelled the run that this request waited for."""


class Gone(Exception):
    """The client left before its answer was ready."""


class Row(NamedTuple):
    """How one kind of error looks from outside."""

    status: int
    type: str
    code: str
    exit: int


TABLE: Mapping[type[Exception], Row] = {
    BadRequest: Row(400, "invalid_request_error", "invalid_value", 2),
    BadStrategy: Row(400, "invalid_request_error", "invalid_parameter", 2),
    UnfitEngine: Row(400, "invalid_request_error", "unfit_engine", 2),
    TooLong: Row(400, "invalid_request_error", "context_length_exceeded", 2),
    Unauthorized: Row(401, "authentication_error", "invalid_api_key", 2),
    Forbidden: Row(403, "permission_error", "not_allowed", 2),
    Missing: Row(404, "not_found_error", "not_found", 3),
    Cancelled: Row(409, "cancelled_error", "run_cancelled", 1),
    Clash: Row(409, "invalid_request_error", "conflict", 2),
    TooSlow: Row(408, "invalid_request_error", "request_timeout", 5),
    TooLarge: Row(413, "invalid_request_error", "too_large", 2),
    IndexFull: Row(413, "invalid_request_error", "index_full", 2),
    WrongType: Row(415, "invalid_request_error", "unsupported_media_type", 2),
    BadVideo: Row(422, "invalid_request_error", "unreadable_video", 3),
    CannotFetch: Row(424, "invalid_request_error", "cannot_fetch", 3),
    Busy: Row(429, "rate_limit_error", "too_many_runs", 5),
    TooFast: Row(429, "rate_limit_error", "rate_limit_exceeded", 5),
    Spent: Row(429, "rate_limit_error", "insufficient_quota", 5),
    ClientDisconnect: Row(499, "cancelled_error", "client_closed_request", 1),
    Gone: Row(499, "cancelled_error", "client_closed_request", 1),
    EngineError: Row(503, "engine_error", "engine_failed", 4),
    EmbedderDown: Row(503, "engine_error", "embedder_failed", 4),
    IndexDown: Row(503, "server_error", "index_unavailable", 4),
    NotReady: Row(503, "not_ready_error", "not_ready", 4),
    Misconfigured: Row(503, "server_error", "misconfigured", 4),
    RecordsDown: Row(503, "server_error", "records_unavailable", 4),
    WrongVersion: Row(503, "server_error", "wrong_records", 4),
    StorageDown: Row(503, "server_error", "storage_unavailable", 4),
    StorageFull: Row(507, "server_error", "storage_full", 4),
    RecordsFull: Row(507, "server_error", "storage_full", 4),
}
BUG = Row(500, "server_error", "internal_error", 1)
_RETRY_AFTER = 5
_NO_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients would send the same again, and pay again, on statuses that are usually of no duration."""
_KINDS = {
    "missing": ("missing_field", "This field is required."),
    "extra_forbidden": ("unknown_field", "There is no such field."),
    "string_too_short": ("invalid_value", "must not be empty"),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as callers see it, over HTTP or on a terminal."""

    row: Row
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """What to tell the caller. What is not in the table is our bug, and its words stay here."""
        if isinstance(error, ValidationError | RequestValidationError):
            return cls.of(explain(error.errors()))
        if isinstance(error, HTTPException):
            return cls._of_http(error)
        row = next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), BUG)
        if row is BUG:
            words = "Something went wrong on our side. It is in the log under this request id."
            return cls(BUG, words, headers=_NO_RETRY)
        wait = getattr(error, "retry_after", None) or (_RETRY_AFTER if row.status in (429, 503) else None)
        headers = {"retry-after": str(wait), "retry-after-ms": str(wait * 1000)} if wait else {}
        if row in (TABLE[Cancelled], TABLE[Clash], TABLE[Spent]):
            headers |= _NO_RETRY
        if row.status == 401:
            headers["www-authenticate"] = "Bearer"
        return cls(row, str(error), getattr(error, "param", None), getattr(error, "code", None), headers)

    @classmethod
    def _of_http(cls, error: HTTPException) -> Failure:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        kind = "not_found_error" if error.status_code == 404 else "invalid_request_error"
        return cls(
            Row(error.status_code, kind, code, 2), f"{str(error.detail).removesuffix('.')}.", headers=error.headers
        )

    @property
    def body(self) -> dict[str, Any]:
        """The error object of the wire."""
        code = self.code or self.row.code
        error = {"message": self.message, "type": self.row.type, "param": self.param, "code": code}
        return {"error": error}


def explain(problems: Sequence[Any]) -> BadRequest:
    """The first thing that validation found wrong, as one sentence that names the field."""
    first = problems[0]
    if first["type"] == "json_invalid":
        return BadRequest(f"The body is not JSON: {first['ctx']['error']}.", code="invalid_json")
    # A part of a union stands under its name twice: as the member and as the field.
    path = [part for part, _ in groupby(str(part) for part in first["loc"] if part != "body")]
    param = ".".join(path) or None
    code, words = _KINDS.get(first["type"], ("invalid_value", str(first["msg"])))
    words = words.removeprefix("Value error, ").replace("Input should be", "must be")
    return BadRequest(f"{param or 'The body'}: {words}", param=param, code=code)
