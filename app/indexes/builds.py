"""Whole indexes, built in the background."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from agents.budget import BudgetExceeded
from agents.engine import Engine
from agents.ledger import Ledger
from app.allowance import Allowance
from app.caller import Caller
from app.errors import Cancelled
from app.gate import Gate
from app.indexes.indexes import Indexes
from app.indexes.work import Wish, Work
from app.middleware import observe
from app.records import Records, RecordsDown, RecordsFull
from app.settings import Settings
from app.videos import Videos

_LOG = logging.getLogger("secondlook")
Doing = Literal["queued", "building"]
_REMEMBERED = 1024


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
        self._work = Work(indexes, videos)
        self._records = records
        self._engine = engine
        self._allowance = Allowance(records)
        self._gate = Gate(settings.index.max_builds, settings.index.max_waiting, math.inf)
        self._builds: dict[str, Build] = {}

    def at(self, id_: str) -> Build | None:
        """The build of an index that is under way, or that failed since this process began."""
        return self._builds.get(id_)

    async def start(self, wish: Wish, caller: Caller, request_id: str) -> str:
        """Begin to build, unless that is under way or done; the id of the index.

        Raises what is wrong with the video or its subtitles, Busy, Draining, NotReady, IndexFull, IndexDown.
        """
        engine = self._engine().scoped(caller.tenant)
        id_, lacking = await self._work.prepare(wish, caller, engine)
        running = self._builds.pop(id_, None)
        if running is not None and running.task is not None and not running.task.done():
            self._builds[id_] = running
        elif lacking:
            self._forget_some()
            build = self._builds[id_] = Build(caller, request_id)
            build.task = asyncio.create_task(self._run(id_, build, wish, engine))
            await asyncio.sleep(0)  # now it stands in the queue, or was turned away
            if build.error is not None:
                del self._builds[id_]
                raise build.error
        return id_

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

    async def _run(self, id_: str, build: Build, wish: Wish, engine: Engine) -> None:
        """Build when it is this build's turn. It counts as under way until what it took is written down."""
        failure: Exception | None = None
        try:
            async with self._gate.enter(build.caller, math.inf):
                caller = await self._allowance.left(build.caller, 0)
                build.doing = "building"
                await self._work.do(wish, caller, engine, build.ledger)
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

    def _forget_some(self) -> None:
        """Of builds that failed, the last ones are remembered."""
        failed = [id_ for id_, build in self._builds.items() if build.error is not None]
        for id_ in failed[: max(0, len(failed) - _REMEMBERED)]:
            del self._builds[id_]

    async def _charge(self, build: Build) -> None:
        tokens = build.ledger.prompt_tokens + build.ledger.completion_tokens
        try:
            await self._records.write(self._allowance.charge(build.caller.key, tokens))
        except (RecordsDown, RecordsFull) as error:
            _LOG.error("%d tokens of the key %s are not written down: %s", tokens, build.caller.key, error)
