"""Search in one index, or in all of a tenant's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from app.caller import Caller
from app.errors import BadRequest
from app.indexes.indexes import Indexes, named
from app.indexes.schemas import HitList, HitObject, SearchRequest
from tools.embedder import EmbedderDown
from tools.index.archive import Archive
from tools.index.card import Card
from tools.index.index import By
from tools.line import Hit
from tools.moment import Span

T = TypeVar("T")
Found = Sequence[tuple[Card, Hit]]


async def search_in(indexes: Indexes, request: SearchRequest, caller: Caller) -> HitList:
    """What fits a query in the index that is named, else in all. Raises Missing, BadRequest, IndexDown."""
    most = indexes.settings.max_hits
    if request.k > most:
        raise BadRequest(f"k: This service returns {most} hits at most.", param="k")
    if request.index is None:
        return await _everywhere(indexes.archive, request, caller)
    return await _in_one(indexes.archive, request, await indexes.card(caller, request.index))


async def _in_one(archive: Archive, request: SearchRequest, card: Card) -> HitList:
    index = archive.open(card.tenant, card.video, card.duration, card.builder, card.label)

    def look(by: By) -> Found:
        span, level, sources = _span(request), request.level, request.sources
        return [
            (card, hit)
            for hit in index.search(request.query, request.k, span=span, level=level, sources=sources, by=by)
        ]

    if card.builder.embedder == archive.embedder.name:
        found, degraded = await _sought(look)
    else:
        found, degraded = await asyncio.to_thread(look, "words"), ["index: made with another embedder; words alone"]
    coverage = await asyncio.to_thread(index.coverage, card.builder.clip_seconds, _span(request))
    return _list(found, degraded, coverage)


async def _everywhere(archive: Archive, request: SearchRequest, caller: Caller) -> HitList:
    def look(by: By) -> Found:
        span, level, sources = _span(request), request.level, request.sources
        return archive.search(caller.tenant, request.query, request.k, span=span, level=level, sources=sources, by=by)

    found, degraded = await _sought(look)
    cards = await asyncio.to_thread(archive.cards, caller.tenant)
    if other := sum(card.builder.embedder != archive.embedder.name for card in cards):
        degraded.append(f"index: {other} made with another embedder were not searched")
    return _list(found, degraded, None)


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
