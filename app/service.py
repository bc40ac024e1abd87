"""What lives as long as the process: the engine, the videos, the catalogue, the gate."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.engine import Engine, EngineError
from agents.engines import open_engine
from agents.presets import Catalogue
from app.answers import Answers
from app.errors import NotReady
from app.gate import Gate
from app.settings import Settings
from app.videos import Videos

_LOG = logging.getLogger("secondlook")


class Service:
    """One service. It lives before its engine does: until the engine is loaded it is up but not ready."""

    def __init__(self, settings: Settings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.catalogue = Catalogue.load()
        self.catalogue.resolve(settings.strategy)
        self.videos = Videos(settings)
        self.gate = Gate(settings.max_runs)
        self.started = int(time.time())
        self._engine = engine
        self._failed = False

    @property
    def engine(self) -> Engine:
        """The engine. Raises NotReady before it is loaded."""
        if self._engine is None:
            why = "could not be loaded; the log says why" if self._failed else "is still being loaded"
            raise NotReady(f"The model {why}.", code="engine_unavailable" if self._failed else None)
        return self._engine

    @property
    def answers(self) -> Answers:
        """The path from requests to answers. Raises NotReady."""
        return Answers(self.settings, self.catalogue, self.videos, self.engine)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the engine in the background, unless one was given, and close it at the end."""
        self.videos.sweep()
        opening = asyncio.ensure_future(self._open())
        try:
            yield
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    async def _open(self) -> None:
        """Hold the engine that the settings name until cancelled."""
        if self._engine is not None:
            return
        try:
            self._engine = await asyncio.to_thread(load, self.settings)
        except EngineError as error:
            self._failed = True
            _LOG.error("the engine %s could not be loaded: %s", self.settings.engine, error)
            return
        except Exception:
            self._failed = True
            _LOG.exception("the engine %s could not be loaded", self.settings.engine)
            return
        try:
            await asyncio.Event().wait()
        finally:
            await self._engine.close()


def load(settings: Settings) -> Engine:
    """The engine that the settings name. Raises EngineError."""
    key = settings.engine_key
    return open_engine(settings.engine, api_key=key.get_secret_value() if key else None)
