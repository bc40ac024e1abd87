"""Who is let in, before anything of a request but its headers is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.caller import LOCAL
from app.errors import Forbidden, Unauthorized
from app.keys import Keys
from app.rate import Rate

PUBLIC = frozenset({"/health", "/ready", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""What needs no key: whether the service lives, and how to talk to it."""
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class Authenticate:
    """Puts the caller into the request's state. Every path is closed, routed or not, unless it is public.

    Without keys, only this machine is answered, under its own name: neither another host nor a web page whose domain
    was pointed at loopback.
    """

    def __init__(self, app: ASGIApp, keys: Keys, public: Collection[str] = PUBLIC) -> None:
        self._app = app
        self._keys = keys
        self._public = frozenset(public)
        self._rate = Rate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._public:
            caller = await self._keys.caller(_secret(Headers(scope=scope).get("authorization")))
            if caller.key == LOCAL.key:
                _check_local(scope)
            self._rate.count(caller)
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this name or address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _secret(header: str | None) -> str | None:
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
