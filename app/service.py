"""Everything that lives as long as the process: engine, database, files, videos, runs, indexes, telemetry."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from agents.engines.base import Engine, EngineError, RequestObserver
from agents.engines.registry import open_engine
from agents.presets import Catalogue
from app.access.keys import KeyStore
from app.answers.service import AnswerService
from app.chat.request import ChatJob
from app.db.session import Database
from app.errors import NotReady
from app.extras import Extras
from app.fetch.cache import FetchCache, FetchCacheLimits
from app.fetch.client import FetchClient, FetchLimits
from app.fetch.policy import FetchPolicy
from app.files.blobs import BlobStore, open_blob_backend
from app.files.store import FileStore
from app.files.upload import UploadSpool
from app.indexes.builds import BuildQueue
from app.indexes.manager import IndexManager
from app.indexes.service import IndexService
from app.runs.manager import RunManager
from app.runs.queue import FairQueue
from app.runs.repository import RunReader
from app.runs.run import AnswerJob, Job
from app.settings import Settings
from app.telemetry.observers import Tracing
from app.telemetry.telemetry import Telemetry, make_tracing
from app.videos import VideoLoader, decoder_running, make_decoder
from tools.sandbox.client import Sandbox


@asynccontextmanager
async def running_engine(settings: Settings, watch: RequestObserver | None = None) -> AsyncIterator[Engine]:
    """Open and probe the engine of the settings; close it at the end. Raises EngineError."""
    key = settings.engine_key.get_secret_value() if settings.engine_key else None
    engine = await asyncio.to_thread(open_engine, settings.engine, api_key=key, observer=watch)
    try:
        await engine.probe()
        yield engine
    finally:
        await engine.close()


_LOG = logging.getLogger("secondlook")


async def run_periodically(seconds: float, *functions: Callable[[], Awaitable[None]]) -> None:
    """Run some functions one after another, forever, every so many seconds. Failures are logged."""
    while True:
        for function in functions:
            try:
                await function()
            except Exception:
                _LOG.exception("a clean-up failed")
        await asyncio.sleep(seconds)


_ORPHANS_SECONDS = 3600.0


class Service:
    """One service. It starts before its engine is loaded: until then it is up but not ready."""

    def __init__(self, settings: Settings, engine: Engine | None = None, tracing: Tracing | None = None) -> None:
        self.settings = settings
        self.tracing = tracing or make_tracing(settings, lambda: self._engine.model if self._engine else "unknown")
        self.catalogue = Catalogue.load()
        for name in (settings.strategy, settings.open_strategy):
            self.catalogue.resolve(name)
        self.database = Database(settings.records_url)
        secret = settings.api_key.get_secret_value() if settings.api_key else None
        self.keys = KeyStore(self.database, settings.quota, secret, cache_seconds=settings.key_seconds)
        self.decoder = make_decoder(settings)
        self._extras = Extras.of(settings)
        self.files = _file_store(settings, self.database)
        self.fetch_cache = _fetch_cache(settings)
        self.videos = VideoLoader(settings, self.decoder, self.files, self.fetch_cache)
        self.queue = FairQueue(settings.max_runs, settings.max_waiting, settings.max_wait_seconds)
        self._indexes = IndexManager(settings)
        self._builds = BuildQueue(settings, self._indexes, self.videos, self.database, lambda: self.engine)
        self.indexes = IndexService(self._indexes, self._builds, self.videos, lambda: self.engine)
        self.telemetry = _telemetry(self)
        self.runs = RunManager(settings, self.database, self.queue, lambda: self.answers, self.telemetry.observers)
        kinds: list[type[Job]] = [AnswerJob, ChatJob]
        self.history = RunReader(
            self.database, self.runs.writes, self.runs.active, {kind.endpoint: kind for kind in kinds}
        )
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
    def answers(self) -> AnswerService:
        """The path from requests to answers. Raises NotReady."""
        return AnswerService(self.settings, self.catalogue, self.videos, self.engine, self._indexes, self._extras)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the records; load the engine in the background, unless one was given, and close it at the end."""
        await asyncio.to_thread(self.database.open)
        often = run_periodically(self.settings.sweep_seconds, self.files.sweep, self.runs.sweep, self.fetch_cache.sweep)
        seldom = run_periodically(_ORPHANS_SECONDS, self.files.remove_orphans, lambda: self._indexes.sweep(self.files))
        tasks = [asyncio.ensure_future(each) for each in (self._keep_engine_loaded(), often, seldom)]
        try:
            async with decoder_running(self.decoder, self.settings), self._accepting_runs():
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.fetch_cache.close()
            await self._indexes.aclose()
            await asyncio.to_thread(self.database.close)
            if self.tracing is not None:
                await asyncio.to_thread(self.tracing.close)

    @asynccontextmanager
    async def _accepting_runs(self) -> AsyncIterator[None]:
        """Accept runs; on exit, drain them."""
        await self.runs.open()
        try:
            yield
        finally:
            await self._builds.close()
            await self.runs.close(self.settings.drain_seconds)

    async def _keep_engine_loaded(self) -> None:
        """Load the engine, retrying on failure, and keep it until cancelled."""
        while self._engine is None:
            began = time.monotonic()
            try:
                async with running_engine(self.settings, self.telemetry) as engine:
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
    queue, cache, decoder = service.queue, service.videos.cache, service.decoder
    gauges = {
        "runs_running": ("Runs at work.", lambda: queue.running),
        "runs_waiting": ("Runs in the queue.", lambda: queue.waiting),
        "frame_cache_bytes": ("Bytes of decoded frames in memory.", lambda: cache.bytes),
    }
    counters = {
        "frames_decoded": ("Frames that were not in the cache.", lambda: cache.misses),
        "frames_cached": ("Frames found in the cache.", lambda: cache.hits),
        "decoders_lost": (
            "Decoding processes that crashed or took too much time or memory.",
            lambda: decoder.workers_lost if isinstance(decoder, Sandbox) else 0,
        ),
    }
    return Telemetry(service.database, gauges, counters, service.tracing)


def _file_store(settings: Settings, records: Database) -> FileStore:
    shelf = open_blob_backend(settings.blobs, settings.data_dir / "videos")
    blobs = BlobStore(shelf, settings.data_dir / "cache", settings.blob_cache_bytes)
    incoming = UploadSpool(settings.data_dir / "incoming", settings.min_free_bytes)
    return FileStore(records, blobs, incoming, settings.max_upload_bytes)


def _fetch_cache(settings: Settings) -> FetchCache:
    policy = FetchPolicy(settings.fetch_ports, settings.fetch_domains, settings.fetch_private, enabled=settings.fetch)
    bounds = FetchLimits(
        bytes=settings.max_upload_bytes,
        redirects=settings.fetch_redirects,
        seconds=settings.fetch_seconds,
        idle_seconds=settings.fetch_idle_seconds,
        connections=settings.max_fetches,
    )
    keeping = FetchCacheLimits(
        bytes=settings.fetch_cache_bytes,
        fresh_seconds=settings.fetch_fresh_seconds,
        kept_seconds=settings.fetch_kept_seconds,
        data_bytes=settings.max_data_bytes,
    )
    return FetchCache(
        FetchClient(policy, bounds), UploadSpool(settings.data_dir / "fetched", settings.min_free_bytes), keeping
    )
