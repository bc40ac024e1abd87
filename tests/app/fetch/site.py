"""Real web servers on loopback that answer as told and remember what they were asked."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """`pause`: seconds before each of the `pieces` that the body is sent in. `cut`: hang up so many bytes early."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    pieces: int = 1
    cut: int = 0
    length: bool = True


def moved(to: str, status: int = 302) -> Answer:
    """A redirect."""
    return Answer(status=status, headers={"Location": to})


@dataclass
class Site:
    """`answers` by path, or made from the request. `requests` holds the head of each, `left` how many hung up early."""

    answers: dict[str, Answer | Callable[[str], Answer]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    left: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.requests.append(head)
            found = self.answers.get(head.split()[1], Answer(status=404))
            await self._write(writer, found if isinstance(found, Answer) else found(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left += 1
        finally:
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} x", *(f"{name}: {value}" for name, value in answer.headers.items())]
        if answer.length:
            lines.append(f"Content-Length: {len(answer.body)}")
        writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        sent = answer.body[: len(answer.body) - answer.cut]
        size = max(1, -(-len(sent) // answer.pieces))
        for start in range(0, max(1, len(sent)), size):
            await asyncio.sleep(answer.pause)
            writer.write(sent[start : start + size])
            await writer.drain()


@asynccontextmanager
async def running(*, trust: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    """A site on a free port."""
    site = Site()
    server = await asyncio.start_server(site.serve, host, 0, ssl=trust)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site


def canary() -> socket.socket:
    """A socket that listens on loopback, in both versions of IP, and that nobody should ever reach."""
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", 0))
    listener.listen()
    listener.setblocking(False)
    return listener


def reached(listener: socket.socket) -> bool:
    """Whether somebody has connected."""
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
