"""Where videos are: uploads, kept under the hash of their content, and one directory of the operator's."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from app.caller import Caller
from app.cards import StoredFile, VideoInfo
from app.errors import BadRequest, Forbidden, Missing, TooLarge
from app.schemas import Source
from app.settings import Settings
from tools.cache import FrameCache
from tools.decoders import Decoder
from tools.film import stamp
from tools.video import Video

_ID = re.compile(r"file_[0-9a-f]{32}", re.ASCII)
_STALE_SECONDS = 24 * 3600.0
"""Age of a half-written upload whose process must have died."""


class Videos:
    """Stores and opens videos. Names that clients give are never used as paths."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings = settings
        self._decoder = decoder
        self._cache = FrameCache(settings.cache_bytes)
        self._kept = settings.data_dir / "videos"
        self._incoming = settings.data_dir / "incoming"
        self._moving = Lock()
        self._known = lru_cache(settings.known_videos)(self._probe)

    def sweep(self) -> None:
        """Remove what uploads of a dead process left behind."""
        for path in self._incoming.glob("*"):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)

    async def add(self, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Keep a video while it arrives. Raises TooLarge or BadVideo, and then nothing of it stays."""
        with self._part() as part:
            digest, size = hashlib.sha256(), 0
            with part.open("wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > self._settings.max_upload_bytes:
                        limit = self._settings.max_upload_bytes
                        raise TooLarge(f"The video is larger than {limit} bytes, the most that can be uploaded.")
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_flush, file)
            return await asyncio.to_thread(self._keep, part, f"file_{digest.hexdigest()[:32]}")

    def get(self, file_id: str) -> StoredFile:
        """What is known of an uploaded video. Raises Missing."""
        try:
            return StoredFile.model_validate_json(self._facts(file_id).read_bytes())
        except FileNotFoundError:
            raise _no_file(file_id) from None

    def delete(self, file_id: str) -> None:
        """Forget an uploaded video. Raises Missing."""
        facts = self._facts(file_id)
        with self._moving:
            if not facts.exists():
                raise _no_file(file_id)
            facts.unlink()
            self._content(file_id).unlink(missing_ok=True)

    @asynccontextmanager
    async def open(self, source: Source, _caller: Caller) -> AsyncIterator[Video]:
        """Hold the video that a request names. Raises BadVideo, Missing, Forbidden, BadRequest."""
        if source.url is not None:
            raise BadRequest(
                "Videos cannot be fetched from URLs yet. Upload the file to /v1/files and pass its id.",
                param="video.url",
                code="unsupported",
            )
        path = self._content(self.get(source.file).id) if source.file else self._allowed(source.path or "")
        yield await asyncio.to_thread(self._open, path)

    def _open(self, path: Path) -> Video:
        return self._known(path, stamp(path))

    def _probe(self, path: Path, _: tuple[int, int]) -> Video:
        """Read a film's facts. The stamp makes a file that changed another one."""
        return Video.open(path, decoder=self._decoder, cache=self._cache, limits=self._settings.limits)

    def _allowed(self, given: str) -> Path:
        """The file behind a path under the operator's directory, symbolic links followed before the check."""
        if self._settings.video_dir is None:
            raise Forbidden("This service reads no paths: its operator has set no video directory.", param="video.path")
        root = self._settings.video_dir.resolve()
        try:
            path = (root / given).resolve()
            inside, there = path.is_relative_to(root), path.is_file()
        except (OSError, ValueError, RuntimeError):
            inside, there = True, False
        if not inside:
            raise Forbidden("This path leads out of the directory that the operator has allowed.", param="video.path")
        if not there:
            raise Missing(f"There is no video at {given}.", param="video.path")
        return path

    def _keep(self, part: Path, file_id: str) -> StoredFile:
        """Probe what arrived and move it to its place, facts last: what has no facts does not exist."""
        info = self._probe(part, stamp(part)).info
        stored = StoredFile(id=file_id, bytes=info.bytes, created_at=int(time.time()), video=VideoInfo.of(info))
        facts = part.with_suffix(".facts")
        with facts.open("wb") as file:
            file.write(stored.model_dump_json().encode())
            _flush(file)
        self._kept.mkdir(parents=True, exist_ok=True)
        with self._moving:
            if self._facts(file_id).exists():
                return self.get(file_id)
            part.replace(self._content(file_id))
            facts.replace(self._facts(file_id))
        _sync(self._kept)
        return stored

    @contextmanager
    def _part(self) -> Iterator[Path]:
        """A file of our own naming that an upload grows in, gone at the end unless it was moved away."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".part", dir=self._incoming)
        os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)
            Path(name).with_suffix(".facts").unlink(missing_ok=True)

    def _content(self, file_id: str) -> Path:
        return self._kept / f"{file_id}.video"

    def _facts(self, file_id: str) -> Path:
        if not _ID.fullmatch(file_id):
            raise _no_file(file_id)
        return self._kept / f"{file_id}.json"


def _no_file(file_id: str) -> Missing:
    return Missing(f"There is no file {file_id!r}. Upload one to /v1/files.", param="video")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make renames in a folder last through a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
