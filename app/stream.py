"""A run as server-sent events: what happens as it happens, then the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.trace import Event, Listener
from app.gate import unless_gone
from app.middleware import observe
from app.report import rounded
from app.schemas import AnswerResponse

Work = Callable[[Listener], Awaitable[AnswerResponse]]
_PING = b": ping\n\n"


class EventStream(Response):
    """Runs some work and sends what it tells. A failure before the first event keeps its status code.

    The work ends with the connection. After `quiet` seconds without an event, a comment keeps the line open.
    """

    media_type = "text/event-stream"

    def __init__(self, work: Work, quiet: float) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._work = work
        self._quiet = quiet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await unless_gone(receive, self._pour(scope["state"]["request_id"], send))

    async def _pour(self, request_id: str, send: Send) -> None:
        started = False
        async with aclosing(follow(self._work, self._quiet)) as happenings:
            try:
                async for each in happenings:
                    if not started and each is None:
                        continue
                    if not started:
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                        started = True
                    await _send(send, _PING if each is None else _frame(each))
            except Exception as error:
                if not started:
                    raise
                await _send(send, sse("error", observe(error, request_id).body))
        await _send(send, b"", more=False)


async def follow(work: Work, quiet: float) -> AsyncGenerator[Event | AnswerResponse | None]:
    """What a run tells, as it tells it, then its answer; None after each `quiet` seconds of silence.

    Raises what the work raises. Closing the generator cancels the work and waits for its end.
    """
    told: asyncio.Queue[Event | None] = asyncio.Queue()
    task = asyncio.ensure_future(work(told.put_nowait))
    task.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while True:
            try:
                event = await asyncio.wait_for(told.get(), quiet)
            except TimeoutError:
                yield None
                continue
            if event is None:
                break
            yield event
        yield await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def sse(name: str, data: dict[str, Any]) -> bytes:
    """One named server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def _frame(each: Event | AnswerResponse) -> bytes:
    data = rounded(each.model_dump(mode="json"))
    return sse("answer" if isinstance(each, AnswerResponse) else each.event, data)


async def _send(send: Send, body: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
