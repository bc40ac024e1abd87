"""Between the wire and the indexes: what a request asks, and how what is there looks from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

from agents.budget import BudgetExceeded
from agents.engine import Engine
from app.caller import Caller
from app.errors import BadRequest, Cancelled, Failure, NotReady
from app.indexes.builds import Build, Builds
from app.indexes.indexes import Indexes, State, named
from app.indexes.schemas import (
    BuiltWith,
    Cost,
    HitList,
    IndexList,
    IndexObject,
    IndexRequest,
    LevelState,
    Problem,
    SearchRequest,
    Status,
)
from app.indexes.searching import search_in
from app.indexes.work import Wish
from app.videos import Videos
from tools.index import Builder
from tools.index.card import Card
from tools.line import Hit
from tools.video import Video

T = TypeVar("T")
Found = Sequence[tuple[Card, Hit]]


class Face:
    """What callers can do with indexes."""

    def __init__(self, indexes: Indexes, builds: Builds, videos: Videos, engine: Callable[[], Engine]) -> None:
        self._indexes = indexes
        self._builds = builds
        self._videos = videos
        self._engine = engine

    async def build(self, request: IndexRequest, caller: Caller, request_id: str) -> IndexObject:
        """Begin to build an index, or go on. Raises what `Builds.start` raises."""
        wish = Wish(request.video, request.level, request.subtitles, request.budget)
        return await self.show(await self._builds.start(wish, caller, request_id), caller)

    async def show(self, id_: str, caller: Caller) -> IndexObject:
        """An index as it is now. Raises Missing, IndexDown."""
        card = await self._indexes.card(caller, id_)
        state = await asyncio.to_thread(self._indexes.state, card)
        return object_of(card, state, self._builds.at(card.id), self._current())

    async def every(self, caller: Caller) -> IndexList:
        """All indexes of the caller's tenant. Raises IndexDown."""
        cards = await asyncio.to_thread(self._indexes.archive.cards, caller.tenant)
        return IndexList(data=[await self.show(card.id, caller) for card in cards])

    async def delete(self, id_: str, caller: Caller) -> None:
        """Remove an index; its building ends. Raises Missing."""
        await self._indexes.card(caller, id_)
        await self._builds.cancel(id_)
        await self._indexes.delete(caller, id_)

    async def search(self, request: SearchRequest, caller: Caller) -> HitList:
        """What fits a query. Raises Missing, BadVideo, BadRequest, IndexDown."""
        if request.video is None:
            return await search_in(self._indexes, request, caller)
        async with self._videos.open(request.video, caller) as footage:
            if not isinstance(footage, Video):
                raise BadRequest("Single pictures are not indexed.", param="video", code="unsupported")
            engine = self._engine()
            index = self._indexes.open(caller, footage, request.video, engine)
            id_ = self._indexes.archive.name(caller.tenant, footage.id, self._indexes.builder(engine))
            await asyncio.to_thread(index.facts)
            return await search_in(self._indexes, request.model_copy(update={"index": id_}), caller)

    def _current(self) -> Builder | None:
        """What would build an index now; None before the engine is loaded."""
        try:
            return self._indexes.builder(self._engine())
        except NotReady:
            return None


def object_of(card: Card, state: State, build: Build | None, current: Builder | None) -> IndexObject:
    """An index as the wire shows it. `current`: what would build one now."""
    builder = card.builder
    return IndexObject(
        id=card.id,
        status=_status(state, build),
        created_at=int(card.created),
        video=named(card),
        duration=card.duration,
        levels=[LevelState.model_validate(asdict(level)) for level in state.levels],
        subtitles=state.subtitles,
        bytes=state.bytes,
        cost=Cost.model_validate({name: round(amount, 4) for name, amount in state.cost.items()}),
        builder=BuiltWith.model_validate({name: getattr(builder, name) for name in BuiltWith.model_fields}),
        current=builder == current,
        error=_problem(build),
    )


def _status(state: State, build: Build | None) -> Status:
    if build is not None and build.error is None:
        return build.doing
    if state.whole:
        return "complete"
    return "failed" if build is not None and not isinstance(build.error, Cancelled | BudgetExceeded) else "partial"


def _problem(build: Build | None) -> Problem | None:
    if build is None or build.error is None:
        return None
    if isinstance(build.error, BudgetExceeded):
        return Problem(message=f"The budget ended: {build.error}.", code="budget_exceeded")
    failure = Failure.of(build.error)
    return Problem(message=failure.message, code=failure.code or failure.row.code)
