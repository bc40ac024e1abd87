"""Builds whole indexes: the work itself, and the queue of builds in the background."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from agents.captions import Captioner, Captions
from agents.core.budget import Budget, BudgetExceeded, BudgetMeter
from agents.core.trace import OnEvent, Trace
from agents.core.usage import RunUsage
from agents.engines.base import Engine
from app.access.caller import Caller
from app.access.quotas import DailyQuota
from app.answers.schemas import VideoInput
from app.db.session import Database, DatabaseFull, DatabaseUnavailable
from app.errors import BadRequest, RunCancelled
from app.indexes.manager import IndexManager, subtitle_entries
from app.middleware import describe_error
from app.runs.queue import FairQueue
from app.settings import Settings
from app.videos import VideoLoader
from tools.index.entries import clip_levels, split_into_clips
from tools.index.index import Index
from tools.video.source import VideoSource
from tools.video.video import Video


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A request to build an index: video, longest clips, subtitles, budget."""

    source: VideoInput
    level: float | None = None
    subtitles: str | None = None
    budget: Budget = Budget()  # noqa: RUF009 - frozen


class IndexBuilder:
    """Builds the index of one video at a time."""

    def __init__(self, indexes: IndexManager, videos: VideoLoader) -> None:
        self._indexes = indexes
        self._videos = videos

    async def prepare(self, wish: BuildRequest, caller: Caller, engine: Engine) -> tuple[str, int]:
        """Begin an index, if there is none, and have it know what is said; its id, and how many captions it lacks.

        Raises what is wrong with the video or its subtitles, IndexFull, IndexUnavailable.
        """
        async with self._videos.open(wish.source, caller) as footage:
            index, video = self._opened(caller, footage, wish, engine)
            await asyncio.to_thread(_add_subtitles, index, video, wish.subtitles)
            wanted = _wanted_levels(wish, clip_levels(video.span.end, self._indexes.settings.clip_seconds))
            lacking = await asyncio.to_thread(lambda: sum(len(index.missing(level)) for level in wanted))
            return self._indexes.archive.id_of(caller.tenant, video.id, self._indexes.builder(engine)), lacking

    async def build(
        self, wish: BuildRequest, caller: Caller, engine: Engine, ledger: RunUsage, listener: OnEvent | None = None
    ) -> None:
        """Write all missing captions. Those written before a limit are kept. Raises BudgetExceeded too."""
        budget = wish.budget.capped(self._indexes.settings.budget).capped(caller.quota.run)
        async with self._videos.open(wish.source, caller) as footage:
            index, video = self._opened(caller, footage, wish, engine)
            eyes = Captioner(video, engine, BudgetMeter(budget), ledger, Trace(listener))
            captions = Captions(index, eyes, self._indexes.captioning)
            try:
                await asyncio.to_thread(index.clear_failures)
                async with _time_limit(budget):
                    await captions.write(level=_wanted_levels(wish, captions.levels)[-1])
            finally:
                await asyncio.to_thread(index.save)

    def _opened(self, caller: Caller, footage: VideoSource, wish: BuildRequest, engine: Engine) -> tuple[Index, Video]:
        if not isinstance(footage, Video):
            raise BadRequest("Single pictures are not indexed. Give a video.", param="video", code="unsupported")
        settings, whole = self._indexes.settings, footage.span.end
        if (count := len(split_into_clips(whole, settings.clip_seconds))) > settings.max_clips:
            length, most = settings.clip_seconds, settings.max_clips
            words = f"This video has {count} clips of {length:g} s; {most} are captioned at most."
            raise BadRequest(words, param="video", code="too_many_clips")
        if wish.level not in (None, *(known := clip_levels(whole, settings.clip_seconds))):
            raise BadRequest(f"level: This video has clips of {', '.join(map(str, known))} seconds.", param="level")
        return self._indexes.open(caller, footage, wish.source, engine), footage


def _wanted_levels(wish: BuildRequest, known: tuple[float, ...]) -> tuple[float, ...]:
    """The clip lengths that a request asks for, in seconds."""
    return tuple(level for level in known if wish.level is None or level <= wish.level)


def _add_subtitles(index: Index, video: Video, given: str | None) -> None:
    """Add subtitles to an index. Blocks."""
    if given is not None:
        index.replace_subtitles(subtitle_entries(video, given))
    index.facts()


@asynccontextmanager
async def _time_limit(budget: Budget) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(budget.seconds) as clock:
            yield
    except TimeoutError:
        if not clock.expired():
            raise
        raise BudgetExceeded("seconds", budget.seconds or 0.0, 0.0) from None


_LOG = logging.getLogger("secondlook")
BuildStage = Literal["queued", "building"]
_MAX_FAILED = 1024


@dataclass(slots=True)
class IndexBuild:
    """A running or failed build."""

    caller: Caller
    request_id: str
    stage: BuildStage = "queued"
    error: BaseException | None = None
    task: asyncio.Task[None] | None = None
    ledger: RunUsage = field(default_factory=RunUsage)


class BuildQueue:
    """Builds a limited number of indexes at once, and each only once however often it is requested."""

    def __init__(
        self,
        settings: Settings,
        indexes: IndexManager,
        videos: VideoLoader,
        records: Database,
        engine: Callable[[], Engine],
    ) -> None:
        self._work = IndexBuilder(indexes, videos)
        self._records = records
        self._engine = engine
        self._allowance = DailyQuota(records)
        self._gate = FairQueue(settings.index.max_builds, settings.index.max_waiting, math.inf)
        self._builds: dict[str, IndexBuild] = {}

    def get(self, id_: str) -> IndexBuild | None:
        """The running build of an index, or its last failure in this process."""
        return self._builds.get(id_)

    async def start(self, wish: BuildRequest, caller: Caller, request_id: str) -> str:
        """Start a build unless it is running or done. Returns the id of the index.

        Raises what is wrong with the video or its subtitles, Busy, ShuttingDown, NotReady, IndexFull, IndexUnavailable.
        """
        engine = self._engine().for_tenant(caller.tenant)
        id_, lacking = await self._work.prepare(wish, caller, engine)
        running = self._builds.pop(id_, None)
        if running is not None and running.task is not None and not running.task.done():
            self._builds[id_] = running
        elif lacking:
            self._forget_some()
            build = self._builds[id_] = IndexBuild(caller, request_id)
            build.task = asyncio.create_task(self._run(id_, build, wish, engine))
            await asyncio.sleep(0)  # now it stands in the queue, or was turned away
            if build.error is not None:
                del self._builds[id_]
                raise build.error
        return id_

    async def cancel(self, id_: str) -> None:
        """Cancel a build. What it wrote is kept."""
        build = self._builds.pop(id_, None)
        if build is not None and build.task is not None:
            build.error = RunCancelled("This build was cancelled.")
            build.task.cancel()
            await asyncio.gather(build.task, return_exceptions=True)

    async def close(self) -> None:
        """Cancel all builds. Requested again, they continue."""
        self._gate.close()
        for id_ in list(self._builds):
            await self.cancel(id_)

    async def _run(self, id_: str, build: IndexBuild, wish: BuildRequest, engine: Engine) -> None:
        """Build when a slot is free. The build counts as running until its cost is stored."""
        failure: Exception | None = None
        try:
            async with self._gate.slot(build.caller, math.inf):
                caller = await self._allowance.admit(build.caller, 0)
                build.stage = "building"
                await self._work.build(wish, caller, engine, build.ledger)
        except Exception as error:
            failure = error
            if not isinstance(error, BudgetExceeded):
                describe_error(error, build.request_id)
        finally:
            if build.ledger.calls:
                await self._charge(build)
        build.error = failure
        if failure is None:
            self._builds.pop(id_, None)

    def _forget_some(self) -> None:
        """Forget all but the latest failures."""
        failed = [id_ for id_, build in self._builds.items() if build.error is not None]
        for id_ in failed[: max(0, len(failed) - _MAX_FAILED)]:
            del self._builds[id_]

    async def _charge(self, build: IndexBuild) -> None:
        tokens = build.ledger.prompt_tokens + build.ledger.completion_tokens
        try:
            await self._records.write(self._allowance.usage(build.caller.key, tokens))
        except (DatabaseUnavailable, DatabaseFull) as error:
            _LOG.error("%d tokens of the key %s are not written down: %s", tokens, build.caller.key, error)
