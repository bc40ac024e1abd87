"""Open the engine that the settings name, ready to work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.engine import Engine
from agents.engines import open_engine
from agents.engines.watch import Watch
from app.settings import Settings


@asynccontextmanager
async def opened(settings: Settings, watch: Watch | None = None) -> AsyncIterator[Engine]:
    """The engine, closed at the end. Raises EngineError."""
    key = settings.engine_key.get_secret_value() if settings.engine_key else None
    engine = await asyncio.to_thread(open_engine, settings.engine, api_key=key, watch=watch)
    try:
        await engine.probe()
        yield engine
    finally:
        await engine.close()
