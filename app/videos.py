"""Opens the video of a request: an uploaded file, a path, a URL or single pictures."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from threading import Event, Lock
from urllib.parse import unquote, urlsplit

from app.access.caller import Caller
from app.answers.schemas import PictureInput, VideoInput
from app.errors import ApiError, BadRequest, Forbidden, NotFound, TooLarge
from app.fetch.cache import FetchCache
from app.fetch.policy import IMAGE_TYPES, decode_data_url
from app.files.store import FileStore
from app.settings import Settings
from tools.sandbox.client import Sandbox
from tools.video.cache import FrameCache
from tools.video.decoders import Decoder, InProcessDecoder
from tools.video.image_sequence import ImageSequence
from tools.video.probe import VideoMetadata, file_stamp
from tools.video.source import VideoSource
from tools.video.video import Video

HoldUrl = Callable[[str, str], AbstractAsyncContextManager[Path]]
"""The content of a URL as a file, for a tenant, while it is held."""
_PARAM = "video.pictures"


class PictureLoader:
    """Opens given pictures. Without `hold`, only those that are written out in data: URLs."""

    def __init__(self, settings: Settings, decoder: Decoder, cache: FrameCache, hold: HoldUrl | None = None) -> None:
        self._settings = settings
        self._decoder = decoder
        self._cache = cache
        self._hold = hold

    async def open(self, stills: Sequence[PictureInput], tenant: str) -> ImageSequence:
        """All of them in order. Raises BadVideo, BadRequest, and what fetching raises."""
        most = self._settings.max_pictures
        if len(stills) > most:
            raise BadRequest(f"{len(stills)} pictures are more than {most}, the most that are taken.", param=_PARAM)
        pictures: list[bytes] = []
        for still in stills:
            pictures.append(await self._content(still.url, tenant))
            if sum(map(len, pictures)) > self._settings.max_question_bytes:
                largest = self._settings.max_question_bytes
                raise TooLarge(f"The pictures have more than {largest} bytes in all, the most.", param=_PARAM)
        times = [still.time for still in stills if still.time is not None]
        limits, decoder = self._settings.limits, self._decoder
        return await asyncio.to_thread(
            ImageSequence.open, pictures, times or None, cache=self._cache, limits=limits, decoder=decoder
        )

    async def _content(self, url: str, tenant: str) -> bytes:
        if url[:5].lower() == "data:":
            return await asyncio.to_thread(decode_data_url, url, self._settings.max_question_bytes, IMAGE_TYPES)
        if self._hold is None:
            raise BadRequest("Send pictures as data: URLs.", param=_PARAM, code="unsupported")
        async with self._hold(url, tenant) as path:
            if path.stat().st_size > self._settings.max_data_bytes:
                raise TooLarge(f"A picture is larger than {self._settings.max_data_bytes} bytes.", param=_PARAM)
            return await asyncio.to_thread(path.read_bytes)


class VideoLoader:
    """Opens videos. Without a file store and a fetch cache, only those of the operator's directory."""

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        library: FileStore | None = None,
        fetched: FetchCache | None = None,
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._library = library
        self._fetched = fetched
        self.cache = FrameCache(settings.cache_bytes)
        self._pictures = PictureLoader(settings, decoder, self.cache, fetched.open if fetched else None)
        self._known: OrderedDict[tuple[Path, tuple[int, int]], Video] = OrderedDict()
        self._lock = Lock()

    async def probe(self, path: Path) -> VideoMetadata:
        """Facts about the video in a file that is not kept yet. Raises BadVideo."""
        return (await _open_while_awaited(self._read, path)).metadata

    @asynccontextmanager
    async def open(self, source: VideoInput, caller: Caller) -> AsyncIterator[VideoSource]:
        """Open the video that a request names, for the duration of a block. Raises BadVideo, BadRequest, NotFound."""
        if source.pictures is not None:
            yield await self._pictures.open(source.pictures, caller.tenant)
            return
        async with self._located(source, caller) as path:
            yield self._recall(path) or await _open_while_awaited(self._open, path)

    @asynccontextmanager
    async def _located(self, source: VideoInput, caller: Caller) -> AsyncIterator[Path]:
        if source.url is not None:
            async with self._at(source.url, source.uuid, caller) as path:
                yield path
        elif source.file is None:
            yield self._allowed(source.path or "")
        elif self._library is None:
            raise NotFound("There are no uploaded files here.", param="video")
        else:
            async with self._library.open(source.file, caller) as path:
                yield path

    @asynccontextmanager
    async def _at(self, url: str, uuid: str | None, caller: Caller) -> AsyncIterator[Path]:
        if url[:5].lower() == "file:":
            yield self._allowed(_file_url_path(url))
        elif self._fetched is None:
            raise BadRequest("URLs cannot be fetched here.", param="video.url", code="unsupported")
        else:
            async with AsyncExitStack() as stack:
                try:
                    path = await stack.enter_async_context(self._fetched.open(url, caller.tenant, uuid))
                except ApiError as refusal:
                    refusal.param = refusal.param or "video.url"
                    raise
                yield path

    def _recall(self, path: Path) -> Video | None:
        """A cached video. Its stamp includes the modification time, so that a changed file is another video."""
        key = path, file_stamp(path)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def _open(self, path: Path, stop: Event) -> Video:
        key = path, file_stamp(path)
        video = self._read(path, stop)
        with self._lock:
            self._known[key] = video
            while len(self._known) > self._settings.known_videos:
                self._known.popitem(last=False)
        return video

    def _read(self, path: Path, stop: Event) -> Video:
        """Probe a video."""
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
            raise NotFound(f"There is no video at {given}.", param="video.path")
        return path


async def _open_while_awaited(work: Callable[[Path, Event], Video], path: Path) -> Video:
    """Open a video in a thread, which is stopped when the request is cancelled."""
    stop = Event()
    try:
        return await asyncio.to_thread(work, path, stop)
    finally:
        stop.set()


def _file_url_path(url: str) -> str:
    """The path in a file: URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or parts.netloc not in ("", "localhost") or not parts.path:
        raise BadRequest("Write a file: URL as file:///path/video.mp4.", param="video.url", code="invalid_url")
    return unquote(parts.path)


_LOG = logging.getLogger("secondlook")
_EXECUTOR_THREADS = 64


class SandboxUnavailable(Exception):
    """The settings require a sandbox that this machine cannot provide."""


def make_decoder(settings: Settings) -> Decoder:
    """The decoder that the settings name. A sandbox starts its processes at first use."""
    if settings.sandbox == "off":
        return InProcessDecoder(settings.decoder)
    return Sandbox(
        settings.decoder,
        workers=settings.decode_workers,
        memory=settings.decode_bytes,
        open_seconds=settings.max_open_seconds,
    )


@asynccontextmanager
async def decoder_running(decoder: Decoder, settings: Settings) -> AsyncIterator[None]:
    """Run the decoding processes, and log what they are not kept from. Raises SandboxUnavailable."""
    if not isinstance(decoder, Sandbox):
        yield
        return
    # Many of asyncio's own few threads would wait for a decoder, and files are read and written in the same ones.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_EXECUTOR_THREADS, "waiting"))
    telling = asyncio.ensure_future(asyncio.to_thread(_log_restrictions, decoder))
    try:
        if settings.sandbox == "required" and (gaps := await telling):
            raise SandboxUnavailable(
                f"Decoding cannot be kept from {', '.join(gaps)} here, which SECONDLOOK_SANDBOX requires."
            )
        yield
    finally:
        await asyncio.gather(telling, return_exceptions=True)
        await asyncio.to_thread(decoder.close)


def _log_restrictions(sandbox: Sandbox) -> tuple[str, ...]:
    """Log what the workers are not kept from."""
    try:
        report = sandbox.report
    except OSError as error:
        _LOG.error("the processes that decode cannot be started: %s", error)
        return ("anything",)
    means = ", ".join(report.means)
    if report.open:
        _LOG.warning("decoding is confined by %s, which does not keep it from: %s", means, ", ".join(report.open))
    else:
        _LOG.info("decoding is confined by %s", means)
    return report.open
