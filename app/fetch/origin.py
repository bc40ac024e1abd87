"""A video on its way from its server: redirects, size and time are bounded, and nothing of a caller's is sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import httpcore

from app.errors import BadRequest, Busy, CannotFetch, Forbidden, TooLarge
from app.fetch.dial import Dialler, NotPublic, Resolve, resolve
from app.fetch.policy import Policy
from app.fetch.target import Target

Write = Callable[[bytes], Awaitable[None]]

_MOVED = frozenset({301, 302, 303, 307, 308})
_AGENT = "secondlook"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes of a video; redirects; seconds in all, and without a byte; connections at once."""

    bytes: int
    redirects: int = 3
    seconds: float = 120.0
    idle_seconds: float = 10.0
    connections: int = 16


class Version(NamedTuple):
    """Which state of a resource was fetched, and from where in the end."""

    url: str
    etag: str | None = None
    modified: str | None = None


class Origin:
    """Fetches from everywhere that the policy allows, without proxies, cookies or credentials."""

    def __init__(
        self,
        policy: Policy,
        bounds: Bounds,
        *,
        resolve: Resolve = resolve,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._bounds = bounds
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=bounds.connections,
            max_keepalive_connections=0,
            network_backend=Dialler(policy, resolve),
        )

    async def close(self) -> None:
        """Let go of all connections."""
        await self._pool.aclose()

    async def fetch(self, url: str, write: Write, known: Version | None = None) -> Version | None:
        """Give the content of a URL to `write`, piece by piece. None: it is still what `known` was.

        Raises BadRequest, Forbidden, TooLarge, CannotFetch.
        """
        target = Target.parse(url)
        try:
            async with asyncio.timeout(self._bounds.seconds):
                for _ in range(self._bounds.redirects + 1):
                    self._policy.check(target)
                    async with self._asked(target, known) as response:
                        if response.status not in _MOVED:
                            return await self._received(target, response, write, known)
                        target = _next(target, response)
        except TimeoutError:
            raise CannotFetch(f"The video did not arrive within {self._bounds.seconds:g} seconds.") from None
        raise CannotFetch(f"This URL redirects more than {self._bounds.redirects} times.")

    @asynccontextmanager
    async def _asked(self, target: Target, known: Version | None) -> AsyncIterator[httpcore.Response]:
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        idle = self._bounds.idle_seconds
        timeouts = {"connect": idle, "read": idle, "write": idle, "pool": idle}
        try:
            async with self._pool.stream(
                "GET", url, headers=_headers(target, known), extensions={"timeout": timeouts}
            ) as response:
                yield response
        except NotPublic:
            raise CannotFetch("The host of this URL does not exist or is not on the public internet.") from None
        except httpcore.PoolTimeout:
            raise Busy("As many videos are being fetched as may be at once. Try again soon.") from None
        except httpcore.TimeoutException:
            raise CannotFetch("The server of this URL is too slow.") from None
        except (httpcore.NetworkError, ssl.SSLError):
            raise CannotFetch("The server of this URL cannot be reached, or is not who it says.") from None
        except httpcore.ProtocolError:
            raise CannotFetch("The server of this URL broke off or does not speak HTTP.") from None

    async def _received(
        self, target: Target, response: httpcore.Response, write: Write, known: Version | None
    ) -> Version | None:
        if response.status == 304 and known is not None and known.url == str(target):
            return None
        if response.status != 200:
            raise CannotFetch(f"The server of this URL answers with status {response.status}.")
        if (_header(response, b"content-encoding") or "identity").lower() != "identity":
            raise CannotFetch("The server of this URL sends the video compressed, which was not asked for.")
        promised = _header(response, b"content-length") or ""
        self._check(int(promised) if promised.isdecimal() else 0)
        size = 0
        async for chunk in response.aiter_stream():
            size += len(chunk)
            self._check(size)
            await write(chunk)
        return Version(str(target), _header(response, b"etag"), _header(response, b"last-modified"))

    def _check(self, size: int) -> None:
        if size > self._bounds.bytes:
            raise TooLarge(f"The video is larger than {self._bounds.bytes} bytes, the most that is fetched.")


def _next(target: Target, response: httpcore.Response) -> Target:
    """Where a redirect leads; its own errors are the server's, not the caller's."""
    try:
        following = target.follow(_header(response, b"location") or "")
    except BadRequest:
        raise CannotFetch("This URL redirects to a place that cannot be used.") from None
    if target.scheme == "https" and following.scheme == "http":
        raise Forbidden("This URL redirects from https to http.", code="url_not_allowed")
    return following


def _headers(target: Target, known: Version | None) -> list[tuple[str, str]]:
    """All that a server is told. Who asked before for the very same is told what came of it."""
    headers = [("Host", target.authority), ("User-Agent", _AGENT), ("Accept", "*/*"), ("Accept-Encoding", "identity")]
    if known is not None and known.url == str(target):
        headers += [("If-None-Match", known.etag)] if known.etag else []
        headers += [("If-Modified-Since", known.modified)] if known.modified and not known.etag else []
    return headers


def _header(response: httpcore.Response, name: bytes) -> str | None:
    """A header's text; None if it is not there or not plain."""
    for key, value in response.headers:
        if key.lower() == name and value.isascii() and value.decode().isprintable():
            return str(value.decode()).strip()
    return None
