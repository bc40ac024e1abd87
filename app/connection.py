"""A client's connection, on which a response that is at hand goes out in one piece."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD = b"HTTP/"


class Connection(HttpToolsProtocol):
    """uvicorn's, which writes the head of a response and its body one after the other, and so wakes a client twice."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Write by way of a `Joiner`."""
        super().connection_made(cast("asyncio.Transport", Joiner(transport)))


class Joiner:
    """A transport that keeps the head of a response until more is written, and no longer than this turn of the loop."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send some bytes after all that came before."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what was kept, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)
