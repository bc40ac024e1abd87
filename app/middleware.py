"""What happens to every request before its route: an id, one place for errors, a bound on its body."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from time import monotonic
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BUG, Failure, TooLarge

_LOG = logging.getLogger("secondlook")
_GONE = 499
"""Status of a request whose client left before there was any."""
Tell = Callable[[Scope, int, float, str | None], None]
_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def observe(error: BaseException, request_id: str) -> Failure:
    """What to tell the client about an exception; our own bugs go to the log, here and only here."""
    failure = Failure.of(error)
    if failure.row is BUG:
        _LOG.error("unexpected error in request %s", request_id, exc_info=error)
    return failure


def noted(scope: Scope, failure: Failure) -> Failure:
    """The same failure, remembered as what became of a request."""
    scope["state"]["error"] = failure.row.code
    return failure


class Correlate:
    """Gives every request an id that its response repeats, and every exception its error object.

    `tell` hears of each request when it is over: its scope, status, seconds, and the id of its run if there is one.
    """

    def __init__(self, app: ASGIApp, tell: Tell | None = None) -> None:
        self._app = app
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid4().hex
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
            failure = noted(scope, observe(error, request_id))
            response = JSONResponse(failure.body, failure.row.status, failure.headers)
            await response(scope, receive, tagged)
        finally:
            if self._tell is not None:
                self._tell(scope, status or _GONE, monotonic() - began, run_id)


class BodyLimit:
    """Reads bodies whole before their route, up to a limit. One route is left out: it streams its own.

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
        check_body(int(declared) if declared.isdecimal() else 0, limit)
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            check_body(len(body), limit)
            more = message.get("more_body", False)
        first: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        return replay


def check_body(size: int, limit: int) -> None:
    """Raise TooLarge if a request has more bytes than the limit."""
    if size > limit:
        raise TooLarge(f"The request is larger than {limit} bytes, the most that this service reads.")
