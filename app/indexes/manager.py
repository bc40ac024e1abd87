"""The indexes of all tenants: open, describe, search and delete them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from agents.captions import CaptionConfig
from agents.embedders.registry import open_embedder
from agents.engines.base import Engine
from app.access.caller import Caller
from app.answers.schemas import VideoInput
from app.errors import BadRequest, NotFound
from app.files.store import FileStore
from app.indexes.schemas import HitList, HitObject, SearchRequest
from app.settings import IndexSettings, Settings
from tools.index.archive import IndexArchive
from tools.index.embedder import EmbedderUnavailable
from tools.index.entries import Hit, IndexEntry, clip_levels, split_into_clips
from tools.index.index import Index, SearchBy
from tools.index.metadata import IndexConfig, IndexMetadata
from tools.video.sampling import Span
from tools.video.source import VideoSource
from tools.video.video import Video

_LOG = logging.getLogger("secondlook")
_DAY = 24 * 3600.0
_INLINE = "data:"


@dataclass(frozen=True, slots=True)
class LevelProgress:
    """Progress of captioning clips of one length."""

    seconds: float
    clips: int
    captioned: int
    failed: int


@dataclass(frozen=True, slots=True)
class IndexState:
    """Contents of an index: captions by clip length, subtitles, bytes on disk, cost."""

    levels: tuple[LevelProgress, ...]
    subtitles: int
    bytes: int
    cost: dict[str, float]

    @property
    def complete(self) -> bool:
        """Whether every clip is captioned."""
        return all(level.captioned + level.failed == level.clips for level in self.levels)


class IndexManager:
    """The indexes of all tenants, made with one embedder. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings: IndexSettings = settings.index
        key = self.settings.embedder_key
        self.archive = IndexArchive(
            settings.data_dir / "indexes",
            open_embedder(self.settings.embedder, api_key=key.get_secret_value() if key else None),
            memory=self.settings.memory_bytes,
            most=self.settings.max_lines,
            room=self.settings.max_bytes,
        )

    @property
    def captioning(self) -> CaptionConfig:
        """How clips are captioned."""
        return self.settings.captioning

    def builder(self, engine: Engine) -> IndexConfig:
        """The configuration with which indexes are built now."""
        return self.captioning.builder(engine, self.archive.embedder)

    def opener(
        self, caller: Caller, footage: VideoSource, source: VideoInput, engine: Engine
    ) -> Callable[[], Index] | None:
        """A function that opens the caller's index of a video; None for single pictures."""
        return partial(self.open, caller, footage, source, engine) if isinstance(footage, Video) else None

    def open(self, caller: Caller, video: Video, source: VideoInput, engine: Engine) -> Index:
        """The caller's index of a video. Nothing is read or written before its first use."""
        index = self.archive.open(caller.tenant, video.id, video.span.end, self.builder(engine), _label(source))
        index.add_subtitles_later(partial(subtitle_entries, video))
        return index

    async def metadata(self, caller: Caller, id_: str) -> IndexMetadata:
        """The metadata of a caller's index. Raises NotFound."""
        cards = await asyncio.to_thread(self.archive.list_indexes, caller.tenant)
        card = next((card for card in cards if card.id == id_), None)
        if card is None:
            raise NotFound(f"There is no index {id_!r}. Build one with POST /v1/indexes.", param="index")
        return card

    def state(self, card: IndexMetadata) -> IndexState:
        """The contents of an index. Blocks. Raises IndexUnavailable."""
        tally = self.archive.summary(card)
        found = []
        for level in clip_levels(card.duration, card.config.clip_seconds):
            captioned = tally.lines.get(("caption", level), 0)
            failed = sum(clip.startswith(f"c:{level:g}:") for clip in tally.failures)
            found.append(LevelProgress(level, len(split_into_clips(card.duration, level)), captioned, failed))
        said, size = tally.lines.get(("subtitle", 0.0), 0), self.archive.bytes(card.tenant, card.id)
        return IndexState(tuple(found), said, size, dict(tally.cost))

    async def delete(self, caller: Caller, id_: str) -> None:
        """Delete a caller's index. Raises NotFound."""
        if not await asyncio.to_thread(self.archive.delete, caller.tenant, id_):
            await self.metadata(caller, id_)

    async def sweep(self, library: FileStore) -> None:
        """Delete indexes unused for too long, and those of deleted files."""
        gone = await asyncio.to_thread(self.archive.delete_unused, self.settings.days * _DAY)
        for card in await asyncio.to_thread(self.archive.all):
            file = video_of(card).file
            if file is not None:
                try:
                    await library.get(file, Caller(card.tenant, key=""))
                except NotFound:
                    await asyncio.to_thread(self.archive.delete, card.tenant, card.id)
                    gone.append(card)
        if gone:
            _LOG.info("%d indexes were removed: nobody opened them, or their file was deleted", len(gone))

    async def aclose(self) -> None:
        """Close all indexes, saving what makes the next opening fast."""
        await asyncio.to_thread(self.archive.close)


def video_of(card: IndexMetadata) -> VideoInput:
    """The name that the owner gave a video."""
    return VideoInput.model_validate_json(card.label)


def subtitle_entries(video: Video, given: str | None = None) -> Sequence[IndexEntry]:
    """The subtitles of a video, as index entries. Blocks. Raises BadVideo, DecodingStopped."""
    cues = video.subtitles(given)
    return [IndexEntry(f"s:{number}", cue.start, cue.end, cue.text, "subtitle") for number, cue in enumerate(cues)]


def _label(source: VideoInput) -> str:
    """A video's name as JSON. What was sent within a request has none."""
    inline = source.url is not None and source.url.startswith(_INLINE)
    shown = VideoInput(url=_INLINE) if inline else source
    return shown.model_dump_json(exclude_none=True)


T = TypeVar("T")
Found = Sequence[tuple[IndexMetadata, Hit]]


async def search_indexes(indexes: IndexManager, request: SearchRequest, caller: Caller) -> HitList:
    """Search the named index, else all. Raises NotFound, BadRequest, IndexUnavailable."""
    most = indexes.settings.max_hits
    if request.k > most:
        raise BadRequest(f"k: This service returns {most} hits at most.", param="k")
    if request.index is None:
        return await _search_all(indexes.archive, request, caller)
    return await _search_one(indexes.archive, request, await indexes.metadata(caller, request.index))


async def _search_one(archive: IndexArchive, request: SearchRequest, card: IndexMetadata) -> HitList:
    index = archive.open(card.tenant, card.video, card.duration, card.config, card.label)

    def look(by: SearchBy) -> Found:
        span, level, sources = _span(request), request.level, request.sources
        return [
            (card, hit)
            for hit in index.search(request.query, request.k, span=span, level=level, sources=sources, by=by)
        ]

    if card.config.embedder == archive.embedder.name:
        found, degraded = await _search_or_words(look)
    else:
        found, degraded = await asyncio.to_thread(look, "words"), ["index: made with another embedder; words alone"]
    coverage = await asyncio.to_thread(index.coverage, card.config.clip_seconds, _span(request))
    return _hit_list(found, degraded, coverage)


async def _search_all(archive: IndexArchive, request: SearchRequest, caller: Caller) -> HitList:
    def look(by: SearchBy) -> Found:
        span, level, sources = _span(request), request.level, request.sources
        return archive.search(caller.tenant, request.query, request.k, span=span, level=level, sources=sources, by=by)

    found, degraded = await _search_or_words(look)
    cards = await asyncio.to_thread(archive.list_indexes, caller.tenant)
    if other := sum(card.config.embedder != archive.embedder.name for card in cards):
        degraded.append(f"index: {other} made with another embedder were not searched")
    return _hit_list(found, degraded, None)


async def _search_or_words(look: Callable[[SearchBy], T]) -> tuple[T, list[str]]:
    """Search; by words alone while the embedder is unavailable."""
    try:
        return await asyncio.to_thread(look, "both"), []
    except EmbedderUnavailable as down:
        return await asyncio.to_thread(look, "words"), [f"index: searched by words alone: {down}"]


def _span(request: SearchRequest) -> Span | None:
    if request.start is None and request.end is None:
        return None
    return Span(request.start or 0.0, _UNBOUNDED if request.end is None else request.end)


_UNBOUNDED = 1e9
"""Seconds; longer than any video."""


def _hit_list(found: Found, degraded: list[str], coverage: float | None) -> HitList:
    hits = [
        HitObject(
            index=card.id,
            video=video_of(card),
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
