"""Open the engine that the settings name, ready to work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, runtime_checkable

from agents.engine import Engine
from agents.engines import open_engine
from app.settings import Settings


@runtime_checkable
class Probing(Protocol):
    """An engine that has to ask its server once what it offers."""

    async def probe(self) -> None:
        """Ask. Raises EngineError."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Engine]:
    """The engine, closed at the end. Raises EngineError."""
    key = settings.engine_key.get_secret_value() if settings.engine_key else None
    engine = await asyncio.to_thread(open_engine, settings.engine, api_key=key)
    try:
        if isinstance(engine, Probing):
            await engine.probe()
        yield engine
    finally:
        await engine.close()
