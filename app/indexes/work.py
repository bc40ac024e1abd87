"""Building a whole index, as the service and the command line do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agents.budget import Budget, BudgetExceeded, Meter
from agents.captions import Captions
from agents.engine import Engine
from agents.ledger import Ledger
from agents.onlooker import Onlooker
from agents.trace import Listener, Trace
from app.caller import Caller
from app.errors import BadRequest
from app.indexes.indexes import Indexes, lines
from app.schemas import Source
from app.videos import Videos
from tools.clips import clips, levels
from tools.footage import Footage
from tools.index import Index
from tools.video import Video


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be built: of which film, up to clips of which length, with which subtitles, at which cost."""

    source: Source
    level: float | None = None
    subtitles: str | None = None
    budget: Budget = Budget()  # noqa: RUF009 - frozen


class Work:
    """Builds indexes of videos."""

    def __init__(self, indexes: Indexes, videos: Videos) -> None:
        self._indexes = indexes
        self._videos = videos

    async def prepare(self, wish: Wish, caller: Caller, engine: Engine) -> tuple[str, int]:
        """Begin an index, if there is none, and have it know what is said; its id, and how many captions it lacks.

        Raises what is wrong with the video or its subtitles, IndexFull, IndexDown.
        """
        async with self._videos.open(wish.source, caller) as footage:
            index, video = self._opened(caller, footage, wish, engine)
            await asyncio.to_thread(_know, index, video, wish.subtitles)
            wanted = _wanted(wish, levels(video.span.end, self._indexes.settings.clip_seconds))
            lacking = await asyncio.to_thread(lambda: sum(len(index.missing(level)) for level in wanted))
            return self._indexes.archive.name(caller.tenant, video.id, self._indexes.builder(engine)), lacking

    async def do(
        self, wish: Wish, caller: Caller, engine: Engine, ledger: Ledger, listener: Listener | None = None
    ) -> None:
        """Write all captions that are missing. What is written before a limit stays. Raises BudgetExceeded too."""
        budget = wish.budget.capped(self._indexes.settings.budget).capped(caller.quota.run)
        async with self._videos.open(wish.source, caller) as footage:
            index, video = self._opened(caller, footage, wish, engine)
            eyes = Onlooker(video, engine, Meter(budget), ledger, Trace(listener))
            captions = Captions(index, eyes, self._indexes.captioning)
            try:
                await asyncio.to_thread(index.forgive)
                async with _in_time(budget):
                    await captions.write(level=_wanted(wish, captions.levels)[-1])
            finally:
                await asyncio.to_thread(index.save)

    def _opened(self, caller: Caller, footage: Footage, wish: Wish, engine: Engine) -> tuple[Index, Video]:
        if not isinstance(footage, Video):
            raise BadRequest("Single pictures are not indexed. Give a video.", param="video", code="unsupported")
        settings, whole = self._indexes.settings, footage.span.end
        if (count := len(clips(whole, settings.clip_seconds))) > settings.max_clips:
            length, most = settings.clip_seconds, settings.max_clips
            words = f"This video has {count} clips of {length:g} s; {most} are captioned at most."
            raise BadRequest(words, param="video", code="too_many_clips")
        if wish.level not in (None, *(known := levels(whole, settings.clip_seconds))):
            raise BadRequest(f"level: This video has clips of {', '.join(map(str, known))} seconds.", param="level")
        return self._indexes.open(caller, footage, wish.source, engine), footage


def _wanted(wish: Wish, known: tuple[float, ...]) -> tuple[float, ...]:
    """The levels that a wish is for."""
    return tuple(level for level in known if wish.level is None or level <= wish.level)


def _know(index: Index, video: Video, given: str | None) -> None:
    """Have an index know what is said. Blocks."""
    if given is not None:
        index.say(lines(video, given))
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
