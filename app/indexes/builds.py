"""Whole indexes, built in the background."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from agents.budget import Budget, BudgetExceeded, Meter
from agents.captions import Captions
from agents.engine import Engine
from agents.ledger import Ledger
from agents.onlooker import Onlooker
from agents.trace import Listener, Trace
from app.allowance import Allowance
from app.caller import Caller
from app.errors import BadRequest, Cancelled
from app.gate import Gate
from app.indexes.indexes import Indexes, lines
from app.middleware import observe
from app.records import Records, RecordsDown, RecordsFull
from app.schemas import Source
from app.settings import Settings
from app.videos import Videos
from tools.clips import clips, levels
from tools.footage import Footage
from tools.index import Index
from tools.video import Video

_LOG = logging.getLogger("secondlook")
Doing = Literal["queued", "building"]
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be built: of which film, up to clips of which length, with which subtitles, at which cost."""

    source: Source
    level: float | None = None
    subtitles: str | None = None
    budget: Budget = Budget()  # noqa: RUF009 - frozen


@dataclass(slots=True)
class Build:
    """A build under way, or one that failed."""

    caller: Caller
    request_id: str
    doing: Doing = "queued"
    error: BaseException | None = None
    task: asyncio.Task[None] | None = None
    ledger: Ledger = field(default_factory=Ledger)


class Builds:
    """Builds at most so many indexes at once, one of each film however often it is asked for."""

    def __init__(
        self, settings: Settings, indexes: Indexes, videos: Videos, records: Records, engine: Callable[[], Engine]
    ) -> None:
        self._settings = settings
        self._indexes = indexes
        self._videos = videos
        self._records = records
        self._engine = engine
        self._allowance = Allowance(records)
        self._gate = Gate(settings.index.max_builds, settings.index.max_waiting, math.inf)
        self._builds: dict[str, Build] = {}

    def at(self, id_: str) -> Build | None:
        """The build of an index that is under way, or that failed since this process began."""
        return self._builds.get(id_)

    async def start(self, wish: Wish, caller: Caller, request_id: str) -> str:
        """Begin to build, unless that is under way; the id of the index.

        Raises what is wrong with the video or its subtitles, Busy, Draining, NotReady, IndexFull, IndexDown.
        """
        engine = self._engine().scoped(caller.tenant)
        async with self._videos.open(wish.source, caller) as footage:
            index, video = self._opened(caller, footage, wish, engine)
            id_ = self._indexes.archive.name(caller.tenant, video.id, self._indexes.builder(engine))
            await asyncio.to_thread(_prepare, index, video, wish)
        running = self._builds.pop(id_, None)
        if running is not None and running.task is not None and not running.task.done():
            self._builds[id_] = running
        else:
            self._forget_some()
            build = self._builds[id_] = Build(caller, request_id)
            build.task = asyncio.create_task(self._work(id_, build, wish, engine))
            await asyncio.sleep(0)  # now it stands in the queue, or was turned away
            if build.error is not None:
                del self._builds[id_]
                raise build.error
        return id_

    async def build(self, wish: Wish, caller: Caller, engine: Engine, listener: Listener | None = None) -> Ledger:
        """Build now and wait for it; what it took. What is written before a limit stays. Raises BudgetExceeded too."""
        ledger = Ledger()
        await self._build(wish, caller, engine, ledger, listener)
        return ledger

    async def cancel(self, id_: str) -> None:
        """End a build. What it wrote stays."""
        build = self._builds.pop(id_, None)
        if build is not None and build.task is not None:
            build.error = Cancelled("This build was cancelled.")
            build.task.cancel()
            await asyncio.gather(build.task, return_exceptions=True)

    async def close(self) -> None:
        """End all builds; asked for again, they go on where they were."""
        self._gate.close()
        for id_ in list(self._builds):
            await self.cancel(id_)

    async def _work(self, id_: str, build: Build, wish: Wish, engine: Engine) -> None:
        """Build when it is this build's turn. It counts as under way until what it took is written down."""
        failure: Exception | None = None
        try:
            async with self._gate.enter(build.caller, math.inf):
                caller = await self._allowance.left(build.caller, 0)
                build.doing = "building"
                await self._build(wish, caller, engine, build.ledger, None)
        except Exception as error:
            failure = error
            if not isinstance(error, BudgetExceeded):
                observe(error, build.request_id)
        finally:
            if build.ledger.calls:
                await self._charge(build)
        build.error = failure
        if failure is None:
            self._builds.pop(id_, None)

    async def _build(
        self, wish: Wish, caller: Caller, engine: Engine, ledger: Ledger, listener: Listener | None
    ) -> None:
        budget = wish.budget.capped(self._indexes.settings.budget).capped(caller.quota.run)
        async with self._videos.open(wish.source, caller) as footage:
            index, video = self._opened(caller, footage, wish, engine)
            eyes = Onlooker(video, engine, Meter(budget), ledger, Trace(listener))
            captions = Captions(index, eyes, self._indexes.captioning)
            try:
                await asyncio.to_thread(index.forgive)
                async with _in_time(budget):
                    await captions.write(level=captions.levels[-1] if wish.level is None else wish.level)
            finally:
                await asyncio.to_thread(index.save)

    def _forget_some(self) -> None:
        """Of builds that failed, the last ones are remembered."""
        failed = [id_ for id_, build in self._builds.items() if build.error is not None]
        for id_ in failed[: max(0, len(failed) - _REMEMBERED)]:
            del self._builds[id_]

    def _opened(self, caller: Caller, footage: Footage, wish: Wish, engine: Engine) -> tuple[Index, Video]:
        if not isinstance(footage, Video):
            raise BadRequest("Single pictures are not indexed. Give a video.", param="video", code="unsupported")
        settings = self._indexes.settings
        count = len(clips(footage.span.end, settings.clip_seconds))
        if count > settings.max_clips:
            raise BadRequest(
                f"This video has {count} clips of {settings.clip_seconds:g} s; {settings.max_clips} are captioned at "
                "most.",
                param="video",
                code="too_many_clips",
            )
        if wish.level not in (None, *(known := levels(footage.span.end, settings.clip_seconds))):
            raise BadRequest(f"level: This video has clips of {', '.join(map(str, known))} seconds.", param="level")
        return self._indexes.open_video(caller, footage, wish.source, engine), footage

    async def _charge(self, build: Build) -> None:
        tokens = build.ledger.prompt_tokens + build.ledger.completion_tokens
        try:
            await self._records.write(self._allowance.charge(build.caller.key, tokens))
        except (RecordsDown, RecordsFull) as error:
            _LOG.error("%d tokens of the key %s are not written down: %s", tokens, build.caller.key, error)


def _prepare(index: Index, video: Video, wish: Wish) -> None:
    """Make the index, if there is none, and have it know what is said. Blocks."""
    if wish.subtitles is not None:
        index.say(lines(video, wish.subtitles))
    index.facts()


@asynccontextmanager
async def _in_time(budget: Budget) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(budget.seconds) as clock:
            yield
    except TimeoutError:
        if not clock.expired():
            raise
        raise BudgetExceeded("seconds", budget.seconds or 0.0, 0.0) from None
