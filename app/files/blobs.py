"""Stores file contents in a folder or a bucket, and opens them as local files."""

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

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from app.errors import Misconfigured, StorageFull, StorageUnavailable
from app.files.disk import move_durably, raising_storage_full
from app.files.upload import SpooledFile


class LocalBlobBackend:
    """Stores contents in a local or mounted folder. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, part: Path, name: str) -> None:
        """Move a finished file into the store, durably. Raises StorageFull."""
        with raising_storage_full():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            move_durably(part, self._folder / name)

    def path(self, name: str) -> Path:
        """The path of a content. Raises FileNotFoundError."""
        path = self._folder / name
        path.stat()
        return path

    def remove(self, name: str) -> None:
        """Delete a content, if it exists; open files stay readable."""
        (self._folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Names of all contents, without unfinished copies."""
        return [path.name for path in self._folder.glob("[!.]*")]

    def age(self, name: str) -> float:
        """Seconds since a content was stored."""
        return time.time() - (self._folder / name).stat().st_mtime


class RemoteBlobBackend:
    """Stores contents in a bucket or elsewhere through fsspec. Its methods block and raise what fsspec raises."""

    def __init__(self, files: AbstractFileSystem, root: str) -> None:
        self._files = files
        self.root = root.rstrip("/")

    def put(self, part: Path, name: str) -> None:
        """Upload a finished file and delete the local one."""
        with raising_storage_full():
            self._files.makedirs(self.root, exist_ok=True)
            self._files.put_file(str(part), self._at(name))
        part.unlink()

    def fetch(self, name: str, target: Path) -> None:
        """Download a content to a local file. Raises FileNotFoundError, StorageFull."""
        with raising_storage_full():
            self._files.get_file(self._at(name), str(target))

    def remove(self, name: str) -> None:
        """Delete a content, if it exists."""
        if self._files.exists(self._at(name)):
            self._files.rm_file(self._at(name))

    def names(self) -> list[str]:
        """Names of all contents, from a fresh listing."""
        self._files.invalidate_cache()
        if not self._files.exists(self.root):
            return []
        return [str(path).rpartition("/")[2] for path in self._files.ls(self.root, detail=False)]

    def age(self, name: str) -> float:
        """Seconds since a content was stored, by the backend's modification time."""
        return float(time.time() - self._files.modified(self._at(name)).timestamp())

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"


BlobBackend = LocalBlobBackend | RemoteBlobBackend


def open_blob_backend(url: str | None, folder: Path) -> BlobBackend:
    """The backend for a URL; without one, the folder. Raises Misconfigured."""
    if url is None:
        return LocalBlobBackend(folder)
    try:
        files, root = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise Misconfigured(f"SECONDLOOK_BLOBS: {url.partition(':')[0]}: cannot be used: {error}") from error
    return LocalBlobBackend(Path(root)) if isinstance(files, LocalFileSystem) else RemoteBlobBackend(files, root)


P = ParamSpec("P")
T = TypeVar("T")
_LOG = logging.getLogger("secondlook")
_UNRECORDED_SECONDS = 3600.0
"""Age in seconds after which a content without a record is an orphan; a younger one may still get its record."""


class BlobStore:
    """Stores contents and opens them as local files.

    An open content stays readable even if it is removed meanwhile. `cache` is a folder for downloads from a remote
    backend; it holds at most `room` bytes, or more while that many are open.
    """

    def __init__(self, shelf: BlobBackend, cache: Path, room: int) -> None:
        self._shelf = shelf
        self._cache = cache
        self._room = room
        self._held: Counter[str] = Counter()
        self._doomed: set[str] = set()
        self._fetching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def put(self, part: SpooledFile, name: str) -> None:
        """Store a finished upload. Raises StorageFull, StorageUnavailable."""
        await self._off_loop(self._shelf.put, part.path, name)

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[Path]:
        """Open a content as a local file. Raises FileNotFoundError, StorageFull, StorageUnavailable."""
        self._held[name] += 1
        try:
            yield await self._path(name)
        finally:
            await asyncio.shield(self._let_go(name))

    async def remove(self, names: Collection[str]) -> None:
        """Delete contents; open ones once they are closed. Failed deletions are left to `sweep`."""
        for name in names:
            if self._held[name]:
                self._doomed.add(name)
            else:
                del self._held[name]
                await self._off_loop(self._remove, name)

    async def sweep(self, known: Collection[str]) -> None:
        """Delete contents without a record, which a process that died has left."""
        strangers = set(await self._off_loop(self._shelf.names)) - set(known) - self._doomed
        for name in strangers:
            try:
                if await self._off_loop(self._shelf.age, name) > _UNRECORDED_SECONDS:
                    await self._off_loop(self._remove, name)
            except FileNotFoundError:
                continue

    async def _path(self, name: str) -> Path:
        if isinstance(self._shelf, LocalBlobBackend):
            return await self._off_loop(self._shelf.path, name)
        async with self._fetching[name]:
            return await self._off_loop(self._fetched, self._shelf, name)

    def _fetched(self, shelf: RemoteBlobBackend, name: str) -> Path:
        """The cached path of a remote content, downloaded if need be."""
        path = self._cache / name
        if path.exists():
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))  # another mtime would be another video
            return path
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = path.with_name(f".{name}")
        try:
            with raising_storage_full():
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
        if isinstance(self._shelf, RemoteBlobBackend):
            await self._off_loop(self._make_room, set(self._held))

    def _remove(self, name: str) -> None:
        try:
            self._shelf.remove(name)
        except OSError as error:
            _LOG.warning("a deleted file stays until the next sweep: %s", error)
        (self._cache / name).unlink(missing_ok=True)

    def _make_room(self, held: Collection[str]) -> None:
        """Delete the least recently used files until the rest fits."""
        found = sorted((path.stat().st_atime, path.stat().st_size, path) for path in self._cache.glob("[!.]*"))
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total > self._room and path.name not in held:
                path.unlink(missing_ok=True)
                total -= size

    async def _off_loop(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run in a thread; any error of the backend becomes StorageUnavailable."""
        try:
            return await asyncio.to_thread(work, *args, **kwargs)
        except (FileNotFoundError, StorageFull):
            raise
        except Exception as error:
            _LOG.exception("the storage of files fails")
            raise StorageUnavailable("The storage of files cannot be reached.") from error
