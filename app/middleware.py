"""ASGI middleware that every request passes: request ids and errors, authentication, body limits."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from ipaddress import ip_address
from time import monotonic
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.caller import LOCAL
from app.access.keys import KeyStore
from app.access.quotas import RateLimiter
from app.errors import INTERNAL_ERROR, ErrorDetail, Forbidden, TooLarge, Unauthorized

_LOG = logging.getLogger("secondlook")
_CLIENT_CLOSED_REQUEST = 499
"""Status of a request whose client left before there was any."""
OnRequestEnd = Callable[[Scope, int, float, str | None], None]
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def describe_error(error: BaseException, request_id: str) -> ErrorDetail:
    """The error object of an exception. Unexpected exceptions are logged here, and only here."""
    failure = ErrorDetail.from_exception(error)
    if failure.spec is INTERNAL_ERROR:
        _LOG.error("unexpected error in request %s", request_id, exc_info=error)
    return failure


def note_error_code(scope: Scope, failure: ErrorDetail) -> ErrorDetail:
    """Remember an error's code for the access log."""
    scope["state"]["error"] = failure.spec.code
    return failure


class RequestIdMiddleware:
    """Gives every request an id that its response repeats, and every exception its error object.

    `tell` hears of each request when it is over: its scope, status, seconds, and the id of its run if there is one.
    """

    def __init__(self, app: ASGIApp, on_end: OnRequestEnd | None = None) -> None:
        self._app = app
        self._tell = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        began = monotonic()
        scope.setdefault("state", {}).update(request_id=request_id, began=began)
        status, run_id = 0, None

        async def tagged(message: Message) -> None:
            nonlocal status, run_id
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                status, run_id = message["status"], headers.get("x-run-id")
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        except Exception as error:
            if status:
                raise
            failure = note_error_code(scope, describe_error(error, request_id))
            response = JSONResponse(failure.body, failure.spec.status, failure.headers)
            await response(scope, receive, tagged)
        finally:
            if self._tell is not None:
                self._tell(scope, status or _CLIENT_CLOSED_REQUEST, monotonic() - began, run_id)


class BodyLimitMiddleware:
    """Reads request bodies up to a limit, except for uploads, which are streamed.

    `larger`: limits of paths that may read more, in bytes.
    """

    def __init__(
        self, app: ASGIApp, limit: int, streaming: tuple[str, str], larger: Mapping[str, int] | None = None
    ) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger or {}
        self._streaming = streaming

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) != self._streaming:
            limit = self._larger.get(scope["path"], self._limit)
            receive = await self._whole(Headers(scope=scope), receive, limit)
        await self._app(scope, receive, send)

    async def _whole(self, headers: Headers, receive: Receive, limit: int) -> Receive:
        declared = headers.get("content-length", "")
        check_body_size(int(declared) if declared.isdecimal() else 0, limit)
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            check_body_size(len(body), limit)
            more = message.get("more_body", False)
        first: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        return replay


def check_body_size(size: int, limit: int) -> None:
    """Raise TooLarge if a request has more bytes than the limit."""
    if size > limit:
        raise TooLarge(f"The request is larger than {limit} bytes, the most that this service reads.")


PUBLIC_PATHS = frozenset({"/health", "/ready", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""Paths that need no key."""
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class AuthMiddleware:
    """Authenticates requests and stores the caller in the request's state. Every path but the public ones needs a key.

    Without keys, only this machine is answered, under its own name: neither another host nor a web page whose domain
    was pointed at loopback.
    """

    def __init__(self, app: ASGIApp, keys: KeyStore, public: Collection[str] = PUBLIC_PATHS) -> None:
        self._app = app
        self._keys = keys
        self._public = frozenset(public)
        self._rate = RateLimiter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._public:
            caller = await self._keys.authenticate(_bearer_token(Headers(scope=scope).get("authorization")))
            if caller.key == LOCAL.key:
                _check_local(scope)
            self._rate.check(caller)
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bearer_token(header: str | None) -> str | None:
    if header is None:
        return None
    match = _BEARER.fullmatch(header)
    if match is None:
        raise Unauthorized("The header must be: Authorization: Bearer KEY.")
    return match[1]


def _check_local(scope: Scope) -> None:
    peer = scope.get("client")
    if peer and not is_loopback(peer[0]):
        raise Unauthorized("This service has no API keys, so it answers on its own machine only.", code="no_keys")
    host = Headers(scope=scope).get("host", "localhost")
    name = re.sub(r":\d*$", "", host).strip("[]")
    if not is_loopback(name):
        raise Forbidden("Without API keys this service answers to the name localhost only.", code="foreign_host")
