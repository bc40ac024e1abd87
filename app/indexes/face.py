"""Between the wire and the indexes: what a request asks, and how what is there looks from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from agents.budget import BudgetExceeded
from agents.engine import Engine
from app.caller import Caller
from app.errors import BadRequest, Cancelled, Failure, NotReady
from app.indexes.builds import Build, Builds, Wish
from app.indexes.indexes import Indexes, State, named
from app.indexes.schemas import (
    BuiltWith,
    Cost,
    HitList,
    HitObject,
    IndexList,
    IndexObject,
    IndexRequest,
    LevelState,
    Problem,
    SearchRequest,
    Status,
)
from app.videos import Videos
from tools.embedder import EmbedderDown
from tools.index import Builder
from tools.index.card import Card
from tools.index.index import By
from tools.line import Hit
from tools.moment import Span
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
        return self._object(card, state, self._builds.at(card.id))

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
        most = self._indexes.settings.max_hits
        if request.k > most:
            raise BadRequest(f"k: This service returns {most} hits at most.", param="k")
        if request.index is not None:
            return await self._in_one(request, await self._indexes.card(caller, request.index))
        if request.video is None:
            return await self._everywhere(request, caller)
        async with self._videos.open(request.video, caller) as footage:
            if not isinstance(footage, Video):
                raise BadRequest("Single pictures are not indexed.", param="video", code="unsupported")
            engine = self._engine()
            index = self._indexes.open_video(caller, footage, request.video, engine)
            id_ = self._indexes.archive.name(caller.tenant, footage.id, self._indexes.builder(engine))
            await asyncio.to_thread(index.facts)
            return await self._in_one(request, await self._indexes.card(caller, id_))

    async def _in_one(self, request: SearchRequest, card: Card) -> HitList:
        archive = self._indexes.archive
        index = archive.open(card.tenant, card.video, card.duration, card.builder, card.label)

        def look(by: By) -> Found:
            hits = index.search(
                request.query, request.k, span=_span(request), level=request.level, sources=request.sources, by=by
            )
            return [(card, hit) for hit in hits]

        found, degraded = await _sought(look)
        if card.builder.embedder != archive.embedder.name:
            found, degraded = await asyncio.to_thread(look, "words"), ["index: made with another embedder"]
        coverage = await asyncio.to_thread(index.coverage, card.builder.clip_seconds, _span(request))
        return _list(found, degraded, coverage)

    async def _everywhere(self, request: SearchRequest, caller: Caller) -> HitList:
        archive = self._indexes.archive

        def look(by: By) -> Found:
            span, level, sources = _span(request), request.level, request.sources
            return archive.search(
                caller.tenant, request.query, request.k, span=span, level=level, sources=sources, by=by
            )

        found, degraded = await _sought(look)
        cards = await asyncio.to_thread(archive.cards, caller.tenant)
        if other := sum(card.builder.embedder != archive.embedder.name for card in cards):
            degraded.append(f"index: {other} made with another embedder were not searched")
        return _list(found, degraded, None)

    def _current(self) -> Builder | None:
        """What would build an index now; None before the engine is loaded."""
        try:
            return self._indexes.builder(self._engine())
        except NotReady:
            return None

    def _object(self, card: Card, state: State, build: Build | None) -> IndexObject:
        builder = card.builder
        return IndexObject(
            id=card.id,
            status=_status(state, build),
            created_at=int(card.created),
            video=named(card),
            duration=card.duration,
            levels=[
                LevelState(seconds=each.seconds, clips=each.clips, captioned=each.captioned, failed=each.failed)
                for each in state.levels
            ],
            subtitles=state.subtitles,
            bytes=state.bytes,
            cost=Cost.model_validate({name: round(amount, 4) for name, amount in state.cost.items()}),
            builder=BuiltWith(
                captioner=builder.captioner,
                clip_seconds=builder.clip_seconds,
                fps=builder.fps,
                side=builder.side,
                embedder=builder.embedder,
            ),
            current=builder == self._current(),
            error=_problem(build),
        )


async def _sought(look: Callable[[By], T]) -> tuple[T, list[str]]:
    """What a search finds, by words alone while the embedder is down."""
    try:
        return await asyncio.to_thread(look, "both"), []
    except EmbedderDown as down:
        return await asyncio.to_thread(look, "words"), [f"index: searched by words alone: {down}"]


def _span(request: SearchRequest) -> Span | None:
    if request.start is None and request.end is None:
        return None
    return Span(request.start or 0.0, _FOR_EVER if request.end is None else request.end)


_FOR_EVER = 1e9
"""Seconds; longer than any film."""


def _list(found: Found, degraded: list[str], coverage: float | None) -> HitList:
    hits = [
        HitObject(
            index=card.id,
            video=named(card),
            id=hit.id,
            start=hit.start,
            end=hit.end,
            text=hit.text,
            score=hit.score,
            source=hit.source,
            level=hit.level,
        )
        for card, hit in found
    ]
    return HitList(data=hits, degraded=degraded, coverage=coverage)


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
