"""How a response leaves: whole where it is at hand, its head at once where its body is still to come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from app.connection import Connection, Joiner
from app.main import create_app
from app.server import Server
from app.settings import Settings

HEAD, BODY = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"body"


class Wire:
    """A transport that remembers what was written to it, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.pieces.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str) -> None:
        """Nothing is known of who is there."""


def write(act: Callable[[Joiner, Wire], Awaitable[None]]) -> list[bytes]:
    """The pieces that reach the wire."""
    wire = Wire()

    async def go() -> None:
        await act(Joiner(cast("asyncio.Transport", wire)), wire)

    asyncio.run(go())
    return wire.pieces


def test_a_head_and_its_body_are_one_piece() -> None:
    async def act(joiner: Joiner, wire: Wire) -> None:
        joiner.write(HEAD)
        assert wire.pieces == []
        joiner.write(BODY)
        assert wire.pieces == [HEAD + BODY]
        await asyncio.sleep(0)
        joiner.write(BODY)

    assert write(act) == [HEAD + BODY, BODY]


def test_a_head_waits_for_nothing_but_the_end_of_the_turn() -> None:
    async def act(joiner: Joiner, wire: Wire) -> None:
        joiner.write(HEAD)
        await asyncio.sleep(0)
        assert wire.pieces == [HEAD]
        joiner.write(BODY)

    assert write(act) == [HEAD, BODY]


def test_a_head_without_a_body_leaves_before_the_end() -> None:
    async def act(joiner: Joiner, wire: Wire) -> None:
        joiner.write(HEAD)
        joiner.close()
        assert wire.closed and joiner.closed
        await asyncio.sleep(0)

    assert write(act) == [HEAD]


def test_nothing_is_written_to_who_has_left() -> None:
    async def act(joiner: Joiner, wire: Wire) -> None:
        joiner.write(HEAD)
        wire.close()
        await asyncio.sleep(0)

    assert write(act) == []


@pytest.mark.anyio
async def test_the_server_answers_in_one_piece(tmp_path: Path) -> None:
    server = Server(create_app(Settings(data_dir=tmp_path)), lifespan="off", log_level="error")
    server.config.load()
    wire = Wire()
    assert server.config.http_protocol_class is Connection
    connection = Connection(config=server.config, server_state=server.server_state, app_state={})
    connection.connection_made(cast("asyncio.Transport", wire))
    connection.data_received(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    await asyncio.gather(*server.server_state.tasks)
    (piece,) = wire.pieces
    assert piece.startswith(HEAD[:15]) and not piece.endswith(b"\r\n\r\n")
