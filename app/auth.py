"""Who is let in, before anything of a request but its headers is read."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from app.caller import LOCAL


class Authenticate:
    """Puts the caller into the request's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["caller"] = LOCAL
        await self._app(scope, receive, send)
