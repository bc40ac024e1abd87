"""One request and its answer: what the server holds already is named, not sent."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from agents.engine import EngineError, Hear
from agents.engines.remote.completion import Completion, completion
from agents.engines.remote.refusal import missed
from agents.engines.remote.request import Request
from agents.engines.remote.sent import Sent
from agents.engines.remote.server import Declined, Server
from agents.engines.remote.streamed import Streamed

_BROKEN = 500
_PATH = "/chat/completions"


class Exchange:
    """Asks a server. `sent` is what it has been sent by all who ask it."""

    def __init__(self, server: Server, sent: Sent) -> None:
        self._server = server
        self._sent = sent

    async def ask(self, request: Request, hear: Hear | None = None) -> Completion:
        """The answer; its only reply is told to `hear` while it comes. Raises EngineError.

        What the server has lost meanwhile is sent again, once, unless a word of the reply has been told.

        vLLM's two halves disagree on what they hold after a request that one of them turned away, as too long or
        cancelled. The next one then fails with status 500 before any work is done, and vLLM forgets what it named.
        """
        told = False

        def tell(piece: str) -> None:
            nonlocal told
            told = True
            assert hear is not None
            hear(piece)

        listener = None if hear is None else tell
        names = [medium.name for medium in request.media if medium.name]
        held = self._sent.among(names)
        try:
            answer = await self._post(request, held, listener)
        except Declined as problem:
            if told or not ((held and missed(problem.words)) or (names and problem.status == _BROKEN)):
                raise
            self._sent.forget(names)
            self._server.watch.mishap("retried")
            answer = await self._post(request, frozenset(), listener)
        self._sent.add(names)
        return answer

    async def _body(self, request: Request, held: frozenset[str]) -> bytes:
        """Off the event loop where frames become files and base64."""
        if all(medium.name in held for medium in request.media):
            return request.body(held)
        return await asyncio.to_thread(request.body, held)

    async def _post(self, request: Request, held: frozenset[str], hear: Hear | None) -> Completion:
        if hear is not None:
            request = replace(request, streaming=True)
        body = await self._body(request, held)
        if hear is None:
            return completion(await self._server.post(_PATH, body))
        answer = Streamed(hear, silent=request.may_think)
        async with aclosing(self._server.follow(_PATH, body)) as chunks:
            async for chunk in chunks:
                answer.add(chunk)
        if not answer.over:
            raise EngineError("The model server ended its reply without saying why, or what it cost.")
        return completion(answer.whole)
