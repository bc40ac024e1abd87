"""A server and what is known about the model on it, found out once, and again when it was away."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from agents.engine import EngineError, Hear
from agents.engines.remote.abilities import Abilities
from agents.engines.remote.completion import Completion
from agents.engines.remote.exchange import Exchange
from agents.engines.remote.options import Options
from agents.engines.remote.probe import Probe
from agents.engines.remote.refusal import Excess
from agents.engines.remote.request import Request
from agents.engines.remote.sent import Sent
from agents.engines.remote.server import Server
from agents.engines.remote.tenant import Secret, Tenant


class Host:
    """What all tenants of a server share. `abilities` is None until the server was asked."""

    def __init__(self, server: Server, options: Options) -> None:
        self.abilities: Abilities | None = None
        self._server = server
        self._secret = Secret()
        self._sent = Sent()
        self._exchange = Exchange(server, self._sent)
        self._probe = Probe(server, self._exchange, options, self._secret.tenant(None))
        self._asking = asyncio.Lock()
        self._outages = 0
        self._closed = False

    def tenant(self, name: str | None) -> Tenant:
        """Whose frames and prompts may be told apart here."""
        return self._secret.tenant(name)

    async def ready(self) -> Abilities:
        """What the model offers; asked again if the server has been away, and is another model now. EngineError."""
        if self._closed:
            raise EngineError("The engine was closed.")
        if self.abilities is None or self._outages != self._server.outages:
            async with self._asking:
                if self.abilities is None or self._outages != self._server.outages:
                    self.abilities = await self._meet()
        return self.abilities

    async def renewed(self, known: Abilities) -> Abilities:
        """What the model offers now that the server no longer knows it under its name."""
        if self.abilities is known:
            self._outages = -1
        return await self.ready()

    async def ask(self, request: Request, hear: Hear | None = None) -> Completion:
        """The answer; its only reply is told to `hear` while it comes. Raises EngineError."""
        return await self._exchange.ask(request, hear)

    async def count(self, text: str) -> int:
        """Tokens of a text, or one a byte where the server does not count. Raises EngineError."""
        known = await self.ready()
        counted = await self._probe.count(known, text) if known.counts else None
        return len(text.encode()) if counted is None else counted

    def learn(self, excess: Excess, pictures: int, others: int) -> None:
        """A prompt was too much, though its pictures and all else were thought to take no more than these tokens."""
        known = self.abilities
        if known is None:
            return
        context, most = _least(known.context, excess.context), _least(known.most_pictures, excess.pictures)
        tariff = known.tariff
        if pictures and excess.tokens is not None and excess.tokens > pictures + others:
            tariff = tariff.dearer((excess.tokens - others) / pictures)
        self.abilities = replace(known, context=context, most_pictures=most, tariff=tariff)

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._server.close()

    async def _meet(self) -> Abilities:
        """Ask the server who it is, and all else if it is somebody new. What it held may be lost."""
        outages = self._server.outages
        card = await self._probe.card()
        self._sent.clear()
        known = self.abilities
        if known is None or known.card != card:
            known = await self._probe.abilities(card)
        self._outages = outages
        return known


def _least(*limits: int | None) -> int | None:
    return min((each for each in limits if each is not None), default=None)
