"""Every error that a client can meet: one table from exception to HTTP status, type, code and exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from agents.core.runner import UnfitEngine
from agents.engines.base import EngineError, PromptTooLong
from agents.presets import BadStrategy
from app.db.session import DatabaseFull, DatabaseUnavailable, WrongSchemaVersion
from tools.index.embedder import EmbedderUnavailable
from tools.index.index import IndexFull
from tools.index.storage import IndexUnavailable
from tools.video.limits import BadVideo


class ApiError(Exception):
    """Base of errors that a request causes. `param` names the field at fault; `retry_after` is in seconds."""

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


class BadRequest(ApiError):
    """The request is invalid."""


class Unauthorized(ApiError):
    """The request has no valid API key."""


class Forbidden(ApiError):
    """The operator does not allow this."""


class NotFound(ApiError):
    """What the request names does not exist."""


class Conflict(ApiError):
    """The request conflicts with the present state."""


class RequestTimeout(ApiError):
    """The client stopped sending before its request was complete."""


class TooLarge(ApiError):
    """The body is larger than a limit."""


class UnsupportedMediaType(ApiError):
    """This route does not read bodies of this type."""


class RateLimited(ApiError):
    """The key has sent too many requests in the last minute."""


class QuotaExceeded(ApiError):
    """The key has used up its quota."""


class FetchFailed(ApiError):
    """A video could not be fetched from its URL."""


class Busy(ApiError):
    """All slots are taken and the queue is full or too slow."""


class NotReady(ApiError):
    """The engine is not loaded yet, or could not be."""


class StorageUnavailable(Exception):
    """The file storage cannot be reached."""


class StorageFull(Exception):
    """The file storage is full."""


class Misconfigured(Exception):
    """The settings contradict each other, or name something that does not exist."""


class ShuttingDown(NotReady):
    """The service ends its runs, takes no new ones, and stops."""

    def __init__(self) -> None:
        super().__init__("The service is about to stop and takes no new questions.", code="draining")


class RunCancelled(Exception):
    """The run that this request waited for was cancelled."""


class ClientDisconnected(Exception):
    """The client left before its answer was ready."""


class ErrorSpec(NamedTuple):
    """How one kind of error is shown: HTTP status, type, code, and exit code of the command line."""

    status: int
    type: str
    code: str
    exit_code: int


ERROR_SPECS: Mapping[type[Exception], ErrorSpec] = {
    BadRequest: ErrorSpec(400, "invalid_request_error", "invalid_value", 2),
    BadStrategy: ErrorSpec(400, "invalid_request_error", "invalid_parameter", 2),
    UnfitEngine: ErrorSpec(400, "invalid_request_error", "unfit_engine", 2),
    PromptTooLong: ErrorSpec(400, "invalid_request_error", "context_length_exceeded", 2),
    Unauthorized: ErrorSpec(401, "authentication_error", "invalid_api_key", 2),
    Forbidden: ErrorSpec(403, "permission_error", "not_allowed", 2),
    NotFound: ErrorSpec(404, "not_found_error", "not_found", 3),
    RunCancelled: ErrorSpec(409, "cancelled_error", "run_cancelled", 1),
    Conflict: ErrorSpec(409, "invalid_request_error", "conflict", 2),
    RequestTimeout: ErrorSpec(408, "invalid_request_error", "request_timeout", 5),
    TooLarge: ErrorSpec(413, "invalid_request_error", "too_large", 2),
    IndexFull: ErrorSpec(413, "invalid_request_error", "index_full", 2),
    UnsupportedMediaType: ErrorSpec(415, "invalid_request_error", "unsupported_media_type", 2),
    BadVideo: ErrorSpec(422, "invalid_request_error", "unreadable_video", 3),
    FetchFailed: ErrorSpec(424, "invalid_request_error", "cannot_fetch", 3),
    Busy: ErrorSpec(429, "rate_limit_error", "too_many_runs", 5),
    RateLimited: ErrorSpec(429, "rate_limit_error", "rate_limit_exceeded", 5),
    QuotaExceeded: ErrorSpec(429, "rate_limit_error", "insufficient_quota", 5),
    ClientDisconnect: ErrorSpec(499, "cancelled_error", "client_closed_request", 1),
    ClientDisconnected: ErrorSpec(499, "cancelled_error", "client_closed_request", 1),
    EngineError: ErrorSpec(503, "engine_error", "engine_failed", 4),
    EmbedderUnavailable: ErrorSpec(503, "engine_error", "embedder_failed", 4),
    IndexUnavailable: ErrorSpec(503, "server_error", "index_unavailable", 4),
    NotReady: ErrorSpec(503, "not_ready_error", "not_ready", 4),
    Misconfigured: ErrorSpec(503, "server_error", "misconfigured", 4),
    DatabaseUnavailable: ErrorSpec(503, "server_error", "records_unavailable", 4),
    WrongSchemaVersion: ErrorSpec(503, "server_error", "wrong_records", 4),
    StorageUnavailable: ErrorSpec(503, "server_error", "storage_unavailable", 4),
    StorageFull: ErrorSpec(507, "server_error", "storage_full", 4),
    DatabaseFull: ErrorSpec(507, "server_error", "storage_full", 4),
}
INTERNAL_ERROR = ErrorSpec(500, "server_error", "internal_error", 1)
_RETRY_AFTER = 5
_NO_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients would send the same again, and pay again, on statuses that are usually of no duration."""
_VALIDATION_MESSAGES = {
    "missing": ("missing_field", "This field is required."),
    "extra_forbidden": ("unknown_field", "There is no such field."),
    "string_too_short": ("invalid_value", "must not be empty"),
}


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """An error as callers see it, over HTTP or on a terminal."""

    spec: ErrorSpec
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] | None = None

    @classmethod
    def from_exception(cls, error: BaseException) -> ErrorDetail:
        """What to tell the caller. What is not in the table is our bug, and its words stay here."""
        if isinstance(error, ValidationError | RequestValidationError):
            return cls.from_exception(validation_error(error.errors()))
        if isinstance(error, HTTPException):
            return cls._of_http(error)
        row = next((ERROR_SPECS[kind] for kind in type(error).__mro__ if kind in ERROR_SPECS), INTERNAL_ERROR)
        if row is INTERNAL_ERROR:
            words = "Something went wrong on our side. It is in the log under this request id."
            return cls(INTERNAL_ERROR, words, headers=_NO_RETRY)
        wait = getattr(error, "retry_after", None) or (_RETRY_AFTER if row.status in (429, 503) else None)
        headers = {"retry-after": str(wait), "retry-after-ms": str(wait * 1000)} if wait else {}
        if row in (ERROR_SPECS[RunCancelled], ERROR_SPECS[Conflict], ERROR_SPECS[QuotaExceeded]):
            headers |= _NO_RETRY
        if row.status == 401:
            headers["www-authenticate"] = "Bearer"
        return cls(row, str(error), getattr(error, "param", None), getattr(error, "code", None), headers)

    @classmethod
    def _of_http(cls, error: HTTPException) -> ErrorDetail:
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        kind = "not_found_error" if error.status_code == 404 else "invalid_request_error"
        return cls(
            ErrorSpec(error.status_code, kind, code, 2),
            f"{str(error.detail).removesuffix('.')}.",
            headers=error.headers,
        )

    @property
    def body(self) -> dict[str, Any]:
        """The error object of the wire."""
        code = self.code or self.spec.code
        error = {"message": self.message, "type": self.spec.type, "param": self.param, "code": code}
        return {"error": error}


def validation_error(problems: Sequence[Any]) -> BadRequest:
    """The first thing that validation found wrong, as one sentence that names the field."""
    first = problems[0]
    if first["type"] == "json_invalid":
        return BadRequest(f"The body is not JSON: {first['ctx']['error']}.", code="invalid_json")
    # A part of a union stands under its name twice: as the member and as the field.
    path = [part for part, _ in groupby(str(part) for part in first["loc"] if part != "body")]
    param = ".".join(path) or None
    code, words = _VALIDATION_MESSAGES.get(first["type"], ("invalid_value", str(first["msg"])))
    words = words.removeprefix("Value error, ").replace("Input should be", "must be")
    return BadRequest(f"{param or 'The body'}: {words}", param=param, code=code)


class ErrorBody(BaseModel):
    """What went wrong, and which field is at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """The form of every error."""

    error: ErrorBody


Responses = dict[int | str, dict[str, Any]]
ERROR_RESPONSE: Responses = {"default": {"model": ErrorResponse, "description": "What went wrong."}}


def error_responses(*statuses: int) -> Responses:
    """The statuses that a route may answer with, all with an error object."""
    return {status: {"model": ErrorResponse} for status in statuses}
