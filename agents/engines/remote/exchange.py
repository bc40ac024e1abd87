"""One request and its answer: what the server holds already is named, not sent."""

from __future__ import annotations

import asyncio

from agents.engines.remote.completion import Completion, completion
from agents.engines.remote.refusal import missed
from agents.engines.remote.request import Request
from agents.engines.remote.sent import Sent
from agents.engines.remote.server import Declined, Server

_BROKEN = 500


class Exchange:
    """Asks a server. `sent` is what it has been sent by all who ask it."""

    def __init__(self, server: Server, sent: Sent) -> None:
        self._server = server
        self._sent = sent

    async def ask(self, request: Request) -> Completion:
        """The answer. What the server has lost meanwhile is sent again, once. Raises EngineError.

        vLLM's two halves disagree on what they hold after a request that one of them turned away, as too long or
        cancelled. The next one then fails with status 500 before any work is done, and vLLM forgets what it named.
        """
        names = [medium.name for medium in request.media if medium.name]
        held = self._sent.among(names)
        try:
            answer = await self._post(request, held)
        except Declined as problem:
            if not ((held and missed(problem.words)) or (names and problem.status == _BROKEN)):
                raise
            self._sent.forget(names)
            answer = await self._post(request, frozenset())
        self._sent.add(names)
        return answer

    async def _post(self, request: Request, held: frozenset[str]) -> Completion:
        body = await asyncio.to_thread(request.body, held)  # off the event loop: frames become files and base64
        return completion(await self._server.post("/chat/completions", body))
