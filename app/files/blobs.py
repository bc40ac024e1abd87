"""Contents, held while they are read: those that lie elsewhere are fetched once and kept within a bound."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from app.errors import StorageDown, StorageFull
from app.files.disk import full_disk_told
from app.files.incoming import Part
from app.files.shelf import FolderShelf, RemoteShelf, Shelf

P = ParamSpec("P")
T = TypeVar("T")
_LOG = logging.getLogger("secondlook")
_YOUNG_SECONDS = 3600.0
"""Age below which a content without a record may still get one from a process that is storing it."""


class Blobs:
    """Stores contents and lends them out as files of this machine.

    Whoever holds one has it until they let go, even if it is removed in between. `cache` is a folder for what had to
    be fetched; it has at most `room` bytes, or whatever is held now.
    """

    def __init__(self, shelf: Shelf, cache: Path, room: int) -> None:
        self._shelf = shelf
        self._cache = cache
        self._room = room
        self._held: Counter[str] = Counter()
        self._doomed: set[str] = set()
        self._fetching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def put(self, part: Part, name: str) -> None:
        """Keep what a finished part has. Raises StorageFull, StorageDown."""
        await self._off_loop(self._shelf.put, part.path, name)

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Path]:
        """A content as a file. Raises FileNotFoundError, StorageFull, StorageDown."""
        self._held[name] += 1
        try:
            yield await self._path(name)
        finally:
            await asyncio.shield(self._let_go(name))

    async def remove(self, names: Collection[str]) -> None:
        """Forget contents, those that are held as soon as they are let go. What fails is left for `sweep`."""
        for name in names:
            if self._held[name]:
                self._doomed.add(name)
            else:
                del self._held[name]
                await self._off_loop(self._remove, name)

    async def sweep(self, known: Collection[str]) -> None:
        """Remove what nobody has a record of: its process died between storing and recording it, or deleting it."""
        strangers = set(await self._off_loop(self._shelf.names)) - set(known) - self._doomed
        for name in strangers:
            try:
                if await self._off_loop(self._shelf.age, name) > _YOUNG_SECONDS:
                    await self._off_loop(self._remove, name)
            except FileNotFoundError:
                continue

    async def _path(self, name: str) -> Path:
        if isinstance(self._shelf, FolderShelf):
            return await self._off_loop(self._shelf.path, name)
        async with self._fetching[name]:
            return await self._off_loop(self._fetched, self._shelf, name)

    def _fetched(self, shelf: RemoteShelf, name: str) -> Path:
        """A content that lies elsewhere, fetched unless it was before."""
        path = self._cache / name
        if path.exists():
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # another mtime would be another film
            return path
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = path.with_name(f".{name}")
        try:
            with full_disk_told():
                shelf.fetch(name, half)
            return half.replace(path)
        finally:
            half.unlink(missing_ok=True)

    async def _let_go(self, name: str) -> None:
        self._held[name] -= 1
        if self._held[name]:
            return
        del self._held[name]
        self._fetching.pop(name, None)
        if name in self._doomed:
            self._doomed.discard(name)
            await self._off_loop(self._remove, name)
        if isinstance(self._shelf, RemoteShelf):
            await self._off_loop(self._make_room, set(self._held))

    def _remove(self, name: str) -> None:
        try:
            self._shelf.remove(name)
        except OSError as error:
            _LOG.warning("a deleted file stays until the next sweep: %s", error)
        (self._cache / name).unlink(missing_ok=True)

    def _make_room(self, held: Collection[str]) -> None:
        """Drop what was used longest ago until the rest fits."""
        found = sorted((path.stat().st_atime, path.stat().st_size, path) for path in self._cache.glob("[!.]*"))
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total > self._room and path.name not in held:
                path.unlink(missing_ok=True)
                total -= size

    async def _off_loop(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run something in a thread; what the storage raises, of whatever make, becomes StorageDown."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except (FileNotFoundError, StorageFull):
            raise
        except Exception as error:
            _LOG.exception("the storage of files fails")
            raise StorageDown("The storage of files cannot be reached.") from error
