"""Index use cases: API requests in, API objects out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TypeVar

from agents.core.budget import BudgetExceeded
from agents.engines.base import Engine
from app.access.caller import Caller
from app.errors import BadRequest, ErrorDetail, NotReady, RunCancelled
from app.indexes.builds import BuildQueue, BuildRequest, IndexBuild
from app.indexes.manager import IndexManager, IndexState, search_indexes, video_of
from app.indexes.schemas import (
    BuildError,
    BuiltWith,
    HitList,
    IndexCost,
    IndexList,
    IndexObject,
    IndexRequest,
    IndexStatus,
    LevelState,
    SearchRequest,
)
from app.videos import VideoLoader
from tools.index.entries import Hit
from tools.index.metadata import IndexConfig, IndexMetadata
from tools.video.video import Video

T = TypeVar("T")
Found = Sequence[tuple[IndexMetadata, Hit]]


class IndexService:
    """The use cases of /v1/indexes and /v1/search."""

    def __init__(
        self, indexes: IndexManager, builds: BuildQueue, videos: VideoLoader, engine: Callable[[], Engine]
    ) -> None:
        self._indexes = indexes
        self._builds = builds
        self._videos = videos
        self._engine = engine

    async def build(self, request: IndexRequest, caller: Caller, request_id: str) -> IndexObject:
        """Start or continue building an index. Raises what `IndexBuilder.start` raises."""
        wish = BuildRequest(request.video, request.level, request.subtitles, request.budget)
        return await self.get(await self._builds.start(wish, caller, request_id), caller)

    async def get(self, id_: str, caller: Caller) -> IndexObject:
        """An index as it is now. Raises NotFound, IndexUnavailable."""
        card = await self._indexes.metadata(caller, id_)
        state = await asyncio.to_thread(self._indexes.state, card)
        return index_object(card, state, self._builds.get(card.id), self._current())

    async def list(self, caller: Caller) -> IndexList:
        """All indexes of the caller's tenant. Raises IndexUnavailable."""
        cards = await asyncio.to_thread(self._indexes.archive.list_indexes, caller.tenant)
        return IndexList(data=[await self.get(card.id, caller) for card in cards])

    async def delete(self, id_: str, caller: Caller) -> None:
        """Delete an index; a running build is cancelled. Raises NotFound."""
        await self._indexes.metadata(caller, id_)
        await self._builds.cancel(id_)
        await self._indexes.delete(caller, id_)

    async def search(self, request: SearchRequest, caller: Caller) -> HitList:
        """Search. Raises NotFound, BadVideo, BadRequest, IndexUnavailable."""
        if request.video is None:
            return await search_indexes(self._indexes, request, caller)
        async with self._videos.open(request.video, caller) as footage:
            if not isinstance(footage, Video):
                raise BadRequest("Single pictures are not indexed.", param="video", code="unsupported")
            engine = self._engine()
            index = self._indexes.open(caller, footage, request.video, engine)
            id_ = self._indexes.archive.id_of(caller.tenant, footage.id, self._indexes.builder(engine))
            await asyncio.to_thread(index.facts)
            return await search_indexes(self._indexes, request.model_copy(update={"index": id_}), caller)

    def _current(self) -> IndexConfig | None:
        """The configuration of new indexes; None before the engine is loaded."""
        try:
            return self._indexes.builder(self._engine())
        except NotReady:
            return None


def index_object(
    card: IndexMetadata, state: IndexState, build: IndexBuild | None, current: IndexConfig | None
) -> IndexObject:
    """An index as an API object. `current`: the configuration of new indexes."""
    builder = card.config
    return IndexObject(
        id=card.id,
        status=_status(state, build),
        created_at=int(card.created),
        video=video_of(card),
        duration=card.duration,
        levels=[LevelState.model_validate(asdict(level)) for level in state.levels],
        subtitles=state.subtitles,
        bytes=state.bytes,
        cost=IndexCost.model_validate({name: round(amount, 4) for name, amount in state.cost.items()}),
        builder=BuiltWith.model_validate({name: getattr(builder, name) for name in BuiltWith.model_fields}),
        current=builder == current,
        error=_build_error(build),
    )


def _status(state: IndexState, build: IndexBuild | None) -> IndexStatus:
    if build is not None and build.error is None:
        return build.stage
    if state.complete:
        return "complete"
    return "failed" if build is not None and not isinstance(build.error, RunCancelled | BudgetExceeded) else "partial"


def _build_error(build: IndexBuild | None) -> BuildError | None:
    if build is None or build.error is None:
        return None
    if isinstance(build.error, BudgetExceeded):
        return BuildError(message=f"The budget ended: {build.error}.", code="budget_exceeded")
    failure = ErrorDetail.from_exception(build.error)
    return BuildError(message=failure.message, code=failure.code or failure.spec.code)
