"""A cache of fetched videos, so that the next question about one does not fetch it again."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from app.fetch.client import FetchClient, ResourceVersion
from app.fetch.policy import TargetUrl, decode_data_url
from app.files.upload import SpooledFile, UploadSpool

_LOG = logging.getLogger("secondlook.fetch")
_MAX_COPIES = 256
"""Each keeps its file open."""


@dataclass(frozen=True, slots=True)
class FetchCacheLimits:
    """`bytes` of all copies, or whatever is held just now; seconds that a copy is `fresh`, so that its server is not
    even asked whether it has changed; seconds that an unused one is `kept`; `data_bytes` of one data: URL."""

    bytes: int
    fresh_seconds: float
    kept_seconds: float
    data_bytes: int


class _Key(NamedTuple):
    """The cache key of a video, separate for each tenant. `name` is a URL or the caller's name for the content."""

    tenant: str
    name: str
    named: bool


@dataclass(slots=True)
class _Copy:
    """A video on disk, deleted once it is dropped and unused."""

    part: SpooledFile
    version: ResourceVersion
    closing: ExitStack
    checked: float
    used: float
    holders: int = 0
    dropped: bool = False

    def drop(self) -> None:
        """Remove it from the cache."""
        self.dropped = True
        self.settle()

    def settle(self) -> None:
        """Delete the file if it is dropped and unused."""
        if self.dropped and not self.holders:
            self.closing.close()


@dataclass(slots=True)
class _Download:
    """Work shared by several requests; cancelled when the last one leaves."""

    task: asyncio.Task[_Copy]
    waiting: int = 0


class FetchCache:
    """Fetches videos and lends them out as local files."""

    def __init__(
        self,
        origin: FetchClient,
        incoming: UploadSpool,
        keeping: FetchCacheLimits,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._origin = origin
        self._incoming = incoming
        self._keeping = keeping
        self._clock = clock
        self._copies: OrderedDict[_Key, _Copy] = OrderedDict()
        self._downloads: dict[_Key, _Download] = {}

    @asynccontextmanager
    async def open(self, url: str, tenant: str, uuid: str | None = None) -> AsyncIterator[Path]:
        """Open the content of a URL as a local file.

        With a `uuid` the caller vouches that all URLs it gives with it have the same content. Raises BadRequest,
        Forbidden, TooLarge, FetchFailed, StorageFull.
        """
        if url[:5].lower() == "data:":
            async with self._written_out(url) as path:
                yield path
            return
        key = _Key(tenant, url if uuid is None else uuid, uuid is not None)
        copy = await self._copy(key, url)
        copy.holders += 1
        try:
            yield copy.part.path
        finally:
            copy.holders -= 1
            copy.used = self._clock()
            copy.settle()
            self.evict()

    def evict(self) -> None:
        """Delete copies unused for too long, then the oldest until the rest fits."""
        idle = {k: c for k, c in self._copies.items() if not c.holders and k not in self._downloads}
        size = sum(copy.part.size for copy in self._copies.values())
        for key, copy in idle.items():
            full = size > self._keeping.bytes or len(self._copies) > _MAX_COPIES
            if full or self._clock() - copy.used > self._keeping.kept_seconds:
                size -= copy.part.size
                self._copies.pop(key).drop()

    async def sweep(self) -> None:
        """`evict`, and delete what dead processes left behind."""
        self.evict()
        await asyncio.to_thread(self._incoming.sweep)

    async def close(self) -> None:
        """Cancel all downloads and delete all copies."""
        tasks = [download.task for download in self._downloads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._copies:
            self._copies.popitem()[1].drop()
        await self._origin.close()

    @asynccontextmanager
    async def _written_out(self, url: str) -> AsyncIterator[Path]:
        with self._incoming.file() as part:
            await asyncio.to_thread(lambda: part.write(decode_data_url(url, self._keeping.data_bytes)))
            await asyncio.to_thread(part.finish)
            yield part.path

    async def _copy(self, key: _Key, url: str) -> _Copy:
        """A fresh copy, shared by simultaneous requests."""
        copy = self._copies.get(key)
        if copy is None or not (key.named or self._clock() - copy.checked <= self._keeping.fresh_seconds):
            copy = await self._shared(key, url)
        if self._copies.get(key) is copy:
            self._copies.move_to_end(key)
        return copy

    async def _shared(self, key: _Key, url: str) -> _Copy:
        download = self._downloads.get(key)
        if download is None:
            download = self._downloads[key] = _Download(asyncio.ensure_future(self._download(key, url)))
        download.waiting += 1
        try:
            return await asyncio.shield(download.task)
        finally:
            download.waiting -= 1
            if not download.waiting:
                del self._downloads[key]
                download.task.cancel()

    async def _download(self, key: _Key, url: str) -> _Copy:
        old, closing = self._copies.get(key), ExitStack()
        part = closing.enter_context(self._incoming.file())

        async def write(chunk: bytes) -> None:
            await asyncio.to_thread(part.write, chunk)

        try:
            version = await self._origin.fetch(url, write, old.version if old else None)
            await asyncio.to_thread(part.finish)
        except BaseException:
            closing.close()
            raise
        now = self._clock()
        if version is None and old is not None:
            closing.close()
            old.checked = now
            return old
        assert version is not None
        _LOG.info("fetched %d bytes from %s", part.size, TargetUrl.parse(version.url).host)
        if old is not None:
            old.drop()
        self._copies[key] = _Copy(part, version, closing, checked=now, used=now)
        self.evict()
        return self._copies[key]
