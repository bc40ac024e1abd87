"""An HTTP client that fetches videos from checked addresses only, within limits of size, time and redirects."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpcore

from app.errors import BadRequest, Busy, FetchFailed, Forbidden, TooLarge
from app.fetch.policy import FetchPolicy, TargetUrl

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Addresses of a host for a port. Raises OSError if it has none."""

_LOG = logging.getLogger("secondlook.fetch")


class AddressNotPublic(Exception):
    """A host that does not resolve or is not public. Callers are not told which."""


async def resolve_host(host: str, port: int) -> list[str]:
    """Resolve with the operating system."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedNetworkBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to allowed addresses only; certificates are checked against the host name."""

    def __init__(
        self, policy: FetchPolicy, resolve: Resolver = resolve_host, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressNotPublic, and httpcore's errors for a host that does not answer."""
        addresses = await self._checked(host, port, timeout)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """See httpcore's `AsyncNetworkBackend`."""
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name could not be looked up in time") from None
        except (OSError, UnicodeError) as error:
            raise AddressNotPublic(f"{host} cannot be looked up") from error
        if not self._policy.allows(host, port, addresses):
            _LOG.warning("refused to dial %s, which is at %s", host, ", ".join(addresses) or "no address")
            raise AddressNotPublic(f"{host} is not public")
        return addresses


WriteChunk = Callable[[bytes], Awaitable[None]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "secondlook"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bytes of a video; redirects; seconds in all, and without a byte; connections at once."""

    bytes: int
    redirects: int = 3
    seconds: float = 120.0
    idle_seconds: float = 10.0
    connections: int = 16


class ResourceVersion(NamedTuple):
    """The validators of a fetched resource (ETag, Last-Modified) and its final URL."""

    url: str
    etag: str | None = None
    modified: str | None = None


class FetchClient:
    """Fetches URLs that the policy allows, without proxies, cookies or credentials."""

    def __init__(
        self,
        policy: FetchPolicy,
        bounds: FetchLimits,
        *,
        resolve: Resolver = resolve_host,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._bounds = bounds
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=bounds.connections,
            max_keepalive_connections=0,
            network_backend=CheckedNetworkBackend(policy, resolve),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def fetch(self, url: str, write: WriteChunk, known: ResourceVersion | None = None) -> ResourceVersion | None:
        """Stream the content of a URL into `write`. Returns None if it has not changed since `known`.

        Raises BadRequest, Forbidden, TooLarge, FetchFailed.
        """
        target = TargetUrl.parse(url)
        try:
            async with asyncio.timeout(self._bounds.seconds):
                for _ in range(self._bounds.redirects + 1):
                    self._policy.check(target)
                    async with self._asked(target, known) as response:
                        if response.status not in _REDIRECTS:
                            return await self._received(target, response, write, known)
                        target = _redirect_target(target, response)
        except TimeoutError:
            raise FetchFailed(f"The video did not arrive within {self._bounds.seconds:g} seconds.") from None
        raise FetchFailed(f"This URL redirects more than {self._bounds.redirects} times.")

    @asynccontextmanager
    async def _asked(self, target: TargetUrl, known: ResourceVersion | None) -> AsyncIterator[httpcore.Response]:
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        idle = self._bounds.idle_seconds
        timeouts = {"connect": idle, "read": idle, "write": idle, "pool": idle}
        try:
            async with self._pool.stream(
                "GET", url, headers=_headers(target, known), extensions={"timeout": timeouts}
            ) as response:
                yield response
        except AddressNotPublic:
            raise FetchFailed("The host of this URL does not exist or is not on the public internet.") from None
        except httpcore.PoolTimeout:
            raise Busy("As many videos are being fetched as may be at once. Try again soon.") from None
        except httpcore.TimeoutException:
            raise FetchFailed("The server of this URL is too slow.") from None
        except (httpcore.NetworkError, ssl.SSLError):
            raise FetchFailed("The server of this URL cannot be reached, or is not who it says.") from None
        except httpcore.ProtocolError:
            raise FetchFailed("The server of this URL broke off or does not speak HTTP.") from None

    async def _received(
        self, target: TargetUrl, response: httpcore.Response, write: WriteChunk, known: ResourceVersion | None
    ) -> ResourceVersion | None:
        if response.status == 304 and known is not None and known.url == str(target):
            return None
        if response.status != 200:
            raise FetchFailed(f"The server of this URL answers with status {response.status}.")
        if (_header(response, b"content-encoding") or "identity").lower() != "identity":
            raise FetchFailed("The server of this URL sends the video compressed, which was not asked for.")
        promised = _header(response, b"content-length") or ""
        self._check(int(promised) if promised.isdecimal() else 0)
        size = 0
        async for chunk in response.aiter_stream():
            size += len(chunk)
            self._check(size)
            await write(chunk)
        return ResourceVersion(str(target), _header(response, b"etag"), _header(response, b"last-modified"))

    def _check(self, size: int) -> None:
        if size > self._bounds.bytes:
            raise TooLarge(f"The video is larger than {self._bounds.bytes} bytes, the most that is fetched.")


def _redirect_target(target: TargetUrl, response: httpcore.Response) -> TargetUrl:
    """The target of a redirect. An invalid one is the server's error, not the caller's."""
    try:
        following = target.follow(_header(response, b"location") or "")
    except BadRequest:
        raise FetchFailed("This URL redirects to a place that cannot be used.") from None
    if target.scheme == "https" and following.scheme == "http":
        raise Forbidden("This URL redirects from https to http.", code="url_not_allowed")
    return following


def _headers(target: TargetUrl, known: ResourceVersion | None) -> list[tuple[str, str]]:
    """The request headers, with validators if the same URL was fetched before."""
    headers = [
        ("Host", target.authority),
        ("User-Agent", _USER_AGENT),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
    ]
    if known is not None and known.url == str(target):
        headers += [("If-None-Match", known.etag)] if known.etag else []
        headers += [("If-Modified-Since", known.modified)] if known.modified and not known.etag else []
    return headers


def _header(response: httpcore.Response, name: bytes) -> str | None:
    """A header's value; None if missing or not ASCII."""
    for key, value in response.headers:
        if key.lower() == name and value.isascii() and value.decode().isprintable():
            return str(value.decode()).strip()
    return None
