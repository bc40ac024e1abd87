"""Connections to hosts whose address was checked: looked up once, and the very address that passed is dialled."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore

from app.fetch.policy import Policy

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Addresses of a host for a port. Raises OSError if it has none."""

_LOG = logging.getLogger("secondlook.fetch")


class NotPublic(Exception):
    """A host that is nowhere or not on the public internet: which of these, callers are not told."""


async def resolve(host: str, port: int) -> list[str]:
    """Ask the operating system."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Dialler(httpcore.AsyncNetworkBackend):
    """Lets HTTP connections out under a policy; host names stay what certificates are checked against."""

    def __init__(
        self, policy: Policy, resolve: Resolve = resolve, network: httpcore.AsyncNetworkBackend | None = None
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
        """Raises NotPublic, and httpcore's errors for a host that does not answer."""
        addresses = await self._checked(host, port, timeout)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """As httpcore wants it."""
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve(host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("the name could not be looked up in time") from None
        except (OSError, UnicodeError) as error:
            raise NotPublic(f"{host} cannot be looked up") from error
        if not self._policy.may_dial(host, port, addresses):
            _LOG.warning("refused to dial %s, which is at %s", host, ", ".join(addresses) or "no address")
            raise NotPublic(f"{host} is not public")
        return addresses
