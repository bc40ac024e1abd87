"""Where videos are: among the files of the caller's tenant, or in one directory of the operator's."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from threading import Event, Lock
from urllib.parse import unquote, urlsplit

from app.caller import Caller
from app.errors import BadRequest, Forbidden, Missing, Refused
from app.fetch.fetched import Fetched
from app.files.library import Library
from app.pictures import Pictures
from app.schemas import Source
from app.settings import Settings
from tools.cache import FrameCache
from tools.decoders import Decoder
from tools.film import Info, stamp
from tools.footage import Footage
from tools.video import Video


class Videos:
    """Opens videos. Without a library and what was fetched, those of the operator's directory only."""

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        library: Library | None = None,
        fetched: Fetched | None = None,
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._library = library
        self._fetched = fetched
        self.cache = FrameCache(settings.cache_bytes)
        self._pictures = Pictures(settings, decoder, self.cache, fetched.hold if fetched else None)
        self._known: OrderedDict[tuple[Path, tuple[int, int]], Video] = OrderedDict()
        self._lock = Lock()

    async def probe(self, path: Path) -> Info:
        """Facts about the film in a file that is not kept yet. Raises BadVideo."""
        return (await _while_awaited(self._read, path)).info

    @asynccontextmanager
    async def open(self, source: Source, caller: Caller) -> AsyncIterator[Footage]:
        """Hold the video that a request names. Raises BadVideo, BadRequest, and what holding files raises."""
        if source.pictures is not None:
            yield await self._pictures.open(source.pictures, caller.tenant)
            return
        async with self._located(source, caller) as path:
            yield self._recall(path) or await _while_awaited(self._open, path)

    @asynccontextmanager
    async def _located(self, source: Source, caller: Caller) -> AsyncIterator[Path]:
        if source.url is not None:
            async with self._at(source.url, source.uuid, caller) as path:
                yield path
        elif source.file is None:
            yield self._allowed(source.path or "")
        elif self._library is None:
            raise Missing("There are no uploaded files here.", param="video")
        else:
            async with self._library.hold(source.file, caller) as path:
                yield path

    @asynccontextmanager
    async def _at(self, url: str, uuid: str | None, caller: Caller) -> AsyncIterator[Path]:
        if url[:5].lower() == "file:":
            yield self._allowed(_path(url))
        elif self._fetched is None:
            raise BadRequest("URLs cannot be fetched here.", param="video.url", code="unsupported")
        else:
            async with AsyncExitStack() as stack:
                try:
                    path = await stack.enter_async_context(self._fetched.hold(url, caller.tenant, uuid))
                except Refused as refusal:
                    refusal.param = refusal.param or "video.url"
                    raise
                yield path

    def _recall(self, path: Path) -> Video | None:
        """A video that is known already. The stamp makes a file that changed another one."""
        key = path, stamp(path)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def _open(self, path: Path, stop: Event) -> Video:
        key = path, stamp(path)
        video = self._read(path, stop)
        with self._lock:
            self._known[key] = video
            while len(self._known) > self._settings.known_videos:
                self._known.popitem(last=False)
        return video

    def _read(self, path: Path, stop: Event) -> Video:
        """Read a film's facts."""
        return Video.open(path, decoder=self._decoder, cache=self.cache, limits=self._settings.limits, stop=stop)

    def _allowed(self, given: str) -> Path:
        """The file behind a path under the operator's directory, symbolic links followed before the check."""
        if self._settings.video_dir is None:
            raise Forbidden("This service reads no paths: its operator has set no video directory.", param="video.path")
        root = self._settings.video_dir
        try:
            path = (root / given).resolve()
            # No link is left in that path, nor in its beginning: if that is the directory, it need not be followed.
            inside = path.is_relative_to(root) or path.is_relative_to(root.resolve())
            there = path.is_file()
        except (OSError, ValueError, RuntimeError):
            inside, there = True, False
        if not inside:
            raise Forbidden("This path leads out of the directory that the operator has allowed.", param="video.path")
        if not there:
            raise Missing(f"There is no video at {given}.", param="video.path")
        return path


async def _while_awaited(work: Callable[[Path, Event], Video], path: Path) -> Video:
    """Open a video in a thread, which is told to stop if nobody waits for it any more."""
    stop = Event()
    try:
        return await asyncio.to_thread(work, path, stop)
    finally:
        stop.set()


def _path(url: str) -> str:
    """The path in a file: URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or parts.netloc not in ("", "localhost") or not parts.path:
        raise BadRequest("Write a file: URL as file:///path/film.mp4.", param="video.url", code="invalid_url")
    return unquote(parts.path)
