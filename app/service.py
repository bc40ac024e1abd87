"""What lives as long as the process: the engine, the videos, the catalogue, the gate."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request

from agents.engine import Engine, EngineError
from agents.presets import Catalogue
from app.answers import Answers
from app.chat.job import ChatJob
from app.decoding import at_work, decoder_for
from app.errors import NotReady
from app.extras import Extras
from app.fetch.fetched import Fetched, Keeping
from app.fetch.origin import Bounds, Origin
from app.fetch.policy import Policy
from app.files.blobs import Blobs
from app.files.incoming import Incoming
from app.files.library import Library
from app.files.shelf import open_shelf
from app.gate import Gate
from app.indexes.builds import Builds
from app.indexes.face import Face
from app.indexes.indexes import Indexes
from app.keys import Keys
from app.loading import opened
from app.records import Records
from app.runs.history import History
from app.runs.job import AnswerJob, Job
from app.runs.runs import Runs
from app.settings import Settings
from app.sweeper import sweep
from app.telemetry.telemetry import Telemetry
from app.telemetry.tracing import tracing_of
from app.telemetry.watching import Tracing
from app.videos import Videos
from tools.sandbox import Sandbox

_TIDY_SECONDS = 3600.0
_LOG = logging.getLogger("secondlook")


class Service:
    """One service. It lives before its engine does: until the engine is loaded it is up but not ready."""

    def __init__(self, settings: Settings, engine: Engine | None = None, tracing: Tracing | None = None) -> None:
        self.settings = settings
        self.tracing = tracing or tracing_of(settings, lambda: self._engine.model if self._engine else "unknown")
        self.catalogue = Catalogue.load()
        for name in (settings.strategy, settings.open_strategy):
            self.catalogue.resolve(name)
        self.records = Records(settings.records_url)
        secret = settings.api_key.get_secret_value() if settings.api_key else None
        self.keys = Keys(self.records, settings.quota, secret, trust=settings.key_seconds)
        self.decoder = decoder_for(settings)
        self._extras = Extras.of(settings)
        self.library = _library(settings, self.records)
        self.fetched = _fetched(settings)
        self.videos = Videos(settings, self.decoder, self.library, self.fetched)
        self.gate = Gate(settings.max_runs, settings.max_waiting, settings.max_wait_seconds)
        self._indexes = Indexes(settings)
        self._builds = Builds(settings, self._indexes, self.videos, self.records, lambda: self.engine)
        self.indexes = Face(self._indexes, self._builds, self.videos, lambda: self.engine)
        self.telemetry = _telemetry(self)
        self.runs = Runs(settings, self.records, self.gate, lambda: self.answers, self.telemetry.watchers)
        kinds: list[type[Job]] = [AnswerJob, ChatJob]
        self.history = History(self.records, self.runs.book, self.runs.live, {kind.endpoint: kind for kind in kinds})
        self.started = int(time.time())
        self._engine = engine
        self._problem: str | None = None

    @property
    def engine(self) -> Engine:
        """The engine. Raises NotReady before it is loaded, and while its server is being started again."""
        if self._engine is None:
            if self._problem:
                raise NotReady("The model cannot be loaded; the log says why.", code="engine_unavailable")
            raise NotReady("The model is still being loaded.")
        if self._engine.problem is not None:
            raise NotReady(self._engine.problem)
        return self._engine

    @property
    def answers(self) -> Answers:
        """The path from requests to answers. Raises NotReady."""
        return Answers(self.settings, self.catalogue, self.videos, self.engine, self._indexes, self._extras)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the records; load the engine in the background, unless one was given, and close it at the end."""
        await asyncio.to_thread(self.records.open)
        often = sweep(self.settings.sweep_seconds, self.library.sweep, self.runs.sweep, self.fetched.sweep)
        seldom = sweep(_TIDY_SECONDS, self.library.tidy, lambda: self._indexes.sweep(self.library))
        tasks = [asyncio.ensure_future(each) for each in (self._hold(), often, seldom)]
        try:
            async with at_work(self.decoder, self.settings), self._at_work():
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.fetched.close()
            await self._indexes.aclose()
            await asyncio.to_thread(self.records.close)
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        """Let runs begin; at the end, let them end."""
        await self.runs.open()
        try:
            yield
        finally:
            await self._builds.close()
            await self.runs.close(self.settings.drain_seconds)

    async def _hold(self) -> None:
        """Load the engine, trying again while it cannot be, and hold it until cancelled."""
        while self._engine is None:
            began = time.monotonic()
            try:
                async with opened(self.settings, self.telemetry) as engine:
                    self._engine = engine
                    await asyncio.Event().wait()
            except EngineError as error:
                self._tell(error.detail)
                # What takes long to fail costs much: it may take half of the time at most.
                await asyncio.sleep(max(self.settings.retry_seconds, time.monotonic() - began))
            except Exception:
                _LOG.exception("the engine %s cannot be loaded", self.settings.engine)
                self._problem = "a bug"
                return

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            _LOG.error("the engine %s cannot be loaded: %s", self.settings.engine, problem)
        self._problem = problem


def _telemetry(service: Service) -> Telemetry:
    """What can be read of a service at any time."""
    gate, cache, decoder = service.gate, service.videos.cache, service.decoder
    gauges = {
        "runs_running": ("Runs at work.", lambda: gate.running),
        "runs_waiting": ("Runs in the queue.", lambda: gate.waiting),
        "frame_cache_bytes": ("Bytes of decoded frames in memory.", lambda: cache.bytes),
    }
    counters = {
        "frames_decoded": ("Frames that were not in the cache.", lambda: cache.misses),
        "frames_cached": ("Frames found in the cache.", lambda: cache.hits),
        "decoders_lost": (
            "Decoding processes that crashed or took too much time or memory.",
            lambda: decoder.struck if isinstance(decoder, Sandbox) else 0,
        ),
    }
    return Telemetry(service.records, gauges, counters, service.tracing)


def _library(settings: Settings, records: Records) -> Library:
    shelf = open_shelf(settings.blobs, settings.data_dir / "videos")
    blobs = Blobs(shelf, settings.data_dir / "cache", settings.blob_cache_bytes)
    incoming = Incoming(settings.data_dir / "incoming", settings.min_free_bytes)
    return Library(records, blobs, incoming, settings.max_upload_bytes)


def _fetched(settings: Settings) -> Fetched:
    policy = Policy(settings.fetch_ports, settings.fetch_domains, settings.fetch_private, enabled=settings.fetch)
    bounds = Bounds(
        bytes=settings.max_upload_bytes,
        redirects=settings.fetch_redirects,
        seconds=settings.fetch_seconds,
        idle_seconds=settings.fetch_idle_seconds,
        connections=settings.max_fetches,
    )
    keeping = Keeping(
        bytes=settings.fetch_cache_bytes,
        fresh=settings.fetch_fresh_seconds,
        kept=settings.fetch_kept_seconds,
        data_bytes=settings.max_data_bytes,
    )
    return Fetched(Origin(policy, bounds), Incoming(settings.data_dir / "fetched", settings.min_free_bytes), keeping)


async def _service(request: Request) -> Service:
    """FastAPI would call a plain function in a thread, which on a busy machine costs more than the answer."""
    service: Service = request.app.state.service
    return service


At = Annotated[Service, Depends(_service)]
"""The service, for routes."""
