"""Server-sent events, and work that is cancelled when its client disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext, suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import ClientDisconnected
from app.middleware import describe_error, note_error_code

T = TypeVar("T")


async def cancel_on_disconnect(receive: Receive, work: Awaitable[T]) -> T:
    """Await work; cancel it and raise ClientDisconnected when the client hangs up. The body must have been read."""
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((task, left), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnected("The client left.")
        return task.result()
    finally:
        left.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_PING = b": ping\n\n"


class EventStreamResponse(Response):
    """Sends frames, and a comment for each None. What goes wrong before the first frame keeps its status code.

    `encode_error` encodes what goes wrong later. `watching` is held until the last frame is sent or the client
    is gone.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncGenerator[bytes | None],
        encode_error: Callable[[dict[str, Any]], bytes],
        *,
        watching: AbstractContextManager[None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._frames = frames
        self._broken = encode_error
        self._watch = watching or nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnected), self._watch:
            await cancel_on_disconnect(receive, self._pour(scope, send))

    async def _pour(self, scope: Scope, send: Send) -> None:
        started = False
        async with aclosing(self._frames) as frames:
            try:
                async for frame in frames:
                    if not started and frame is None:
                        continue
                    if not started:
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                        started = True
                    await _send(send, _PING if frame is None else frame)
            except Exception as error:
                if not started:
                    raise
                await _send(
                    send, self._broken(note_error_code(scope, describe_error(error, scope["state"]["request_id"])).body)
                )
        await _send(send, b"", more=False)


def encode_event(data: object, *, name: str | None = None, number: int | None = None) -> bytes:
    """One server-sent event. Clients send its number as `Last-Event-ID` when they reconnect."""
    event = "" if name is None else f"event: {name}\n"
    mark = "" if number is None else f"id: {number}\n"
    return f"{event}{mark}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def _send(send: Send, body: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


EVENT_STREAM_CONTENT: dict[str, Any] = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "required": ["data"],
            "properties": {name: {"type": "string"} for name in ("data", "event", "id")},
        }
    }
}
"""Content of streams; the schema is that of one event, whose data is JSON."""
