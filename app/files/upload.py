"""Receives uploads: parses the multipart body, checks the tenant's quota, and writes to a temporary file."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BadRequest, RequestTimeout, TooLarge, UnsupportedMediaType
from app.files.disk import check_free_space, raising_storage_full


class SpooledFile:
    """A temporary file that is being written, with its size in bytes and its sha256."""

    def __init__(self, path: Path, file: FileIO, spare: int) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._spare = spare
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """The sha256 of what was written, in hex."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append; blocks. Raises StorageFull."""
        with raising_storage_full():
            check_free_space(self.path.parent, self._spare + len(chunk))
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._digest.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """Flush to disk; blocks. Raises StorageFull."""
        with raising_storage_full():
            os.fsync(self._file.fileno())


class UploadSpool:
    """Creates temporary files for uploads. `spare` bytes of the disk are left free.

    Each file is locked by its writer, so an unlocked one was left by a process that died.
    """

    def __init__(self, folder: Path, spare: int) -> None:
        self._folder = folder
        self._spare = spare

    @contextmanager
    def file(self) -> Iterator[SpooledFile]:
        """A temporary file, deleted at the end unless it was moved away. Raises StorageFull."""
        with raising_storage_full():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_free_space(self._folder, self._spare)
            handle, path = self._claimed()
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                yield SpooledFile(path, file, self._spare)
        finally:
            path.unlink(missing_ok=True)

    def _claimed(self) -> tuple[int, Path]:
        """Create and lock a file; try again if a sweep deleted it before it was locked."""
        while True:
            handle, name = tempfile.mkstemp(suffix=".part", dir=self._folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle, Path(name)
            os.close(handle)

    def sweep(self) -> None:
        """Delete files of processes that died; blocks."""
        for path in self._folder.glob("*.part"):
            with suppress(FileNotFoundError), path.open("rb") as file, suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


class QuotaWriter:
    """Writes an upload and enforces the size limit and the tenant's storage quota.

    `room` is the number of bytes left of the quota, shared by all uploads of the tenant in progress, whose bytes
    `on_their_way` counts. Call `release` when the file is stored or given up.
    """

    def __init__(
        self, part: SpooledFile, tenant: str, room: int | None, largest: int, on_their_way: Counter[str]
    ) -> None:
        self.part = part
        self._tenant = tenant
        self._room = room
        self._largest = largest
        self._on_their_way = on_their_way
        self._counted = 0

    def check(self, size: int) -> None:
        """Raise TooLarge if `size` more bytes would exceed a limit."""
        if self._counted + size > self._largest:
            raise TooLarge(f"The video is larger than {self._largest} bytes, the most that can be uploaded.")
        if self._room is not None and self._on_their_way[self._tenant] + size > self._room:
            raise storage_quota_error(self._room)

    def write(self, chunk: bytes) -> None:
        """Append; blocks. Raises TooLarge, StorageFull."""
        self.check(len(chunk))
        self._counted += len(chunk)
        self._on_their_way[self._tenant] += len(chunk)
        self.part.write(chunk)

    def release(self) -> None:
        """Stop counting this upload as in progress."""
        self._on_their_way[self._tenant] -= self._counted
        self._counted = 0


def storage_quota_error(room: int) -> TooLarge:
    """The error for a file that exceeds the tenant's storage quota."""
    return TooLarge(
        f"Only {room} bytes are left of what this key's tenant may store. Delete files, or wait until some expire.",
        code="storage_quota_exceeded",
    )


class MultipartUpload:
    """Parses a multipart body as it arrives and yields the bytes of the part named `file`.

    `spare` is the most bytes of the rest of the body, `known` the names of other parts allowed. At the end, `filename`
    is the client's name for the file, and `fields` has the other parts as text. Raises BadRequest,
    UnsupportedMediaType.
    """

    def __init__(self, content_type: str, spare: int, known: Collection[str]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise UnsupportedMediaType('Send the video as multipart/form-data, in a part named "file".')
        self.filename = ""
        self._found = False
        self._ended = False
        self._name = ""
        self._spare = spare
        self._known = frozenset(known)
        self._pieces: list[bytes] = []
        self._texts: dict[str, bytearray] = {}
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        try:
            self._parser = MultipartParser(options[b"boundary"], self._callbacks())  # type: ignore[arg-type]
        except FormParserError as error:
            raise _invalid_multipart(error) from None

    @property
    def fields(self) -> dict[str, str]:
        """The other parts as text."""
        return {name: bytes(text).decode("utf-8", "replace") for name, text in self._texts.items()}

    async def read(self, body: AsyncIterator[bytes], patience: float) -> AsyncIterator[bytes]:
        """Yield the file's bytes as they arrive. Raises RequestTimeout after `patience` seconds without any."""
        while True:
            try:
                async with asyncio.timeout(patience):
                    chunk = await anext(body)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise RequestTimeout(f"Nothing of the upload arrived for {patience:g} s.") from None
            if piece := self.feed(chunk):
                yield piece
        self._check_whole()

    def feed(self, chunk: bytes) -> bytes:
        """Parse a chunk of the body; returns the file's bytes in it. Raises BadRequest, TooLarge."""
        self._pieces = []
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _invalid_multipart(error) from None
        inside = b"".join(self._pieces)
        self._spare -= len(chunk) - len(inside)
        if self._spare < 0:
            raise TooLarge("The fields beside the file are too large.")
        return inside

    def _check_whole(self) -> None:
        """Raise BadRequest if the file is missing or incomplete."""
        if not self._found:
            raise BadRequest('file: There is no part named "file".', param="file", code="missing_field")
        if not self._ended:
            raise BadRequest("The upload broke off before its end.", param="file", code="incomplete_upload")

    def _callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._on_part,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }

    def _on_part(self) -> None:
        self._disposition = b""

    def _on_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers(self) -> None:
        options = parse_options_header(self._disposition)[1]
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == "file":
            if self._found:
                raise BadRequest("Send one file at a time.", param="file")
            self._found = True
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
        elif self._name not in self._known:
            raise BadRequest(f"{self._name}: There is no such field.", param=self._name, code="unknown_field")
        elif self._name in self._texts:
            raise BadRequest(f"{self._name}: Send this field once.", param=self._name)
        else:
            self._texts[self._name] = bytearray()

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self._pieces.append(data[start:end])
        else:
            self._texts[self._name] += data[start:end]

    def _on_end(self) -> None:
        self._ended = True


def _invalid_multipart(error: FormParserError) -> BadRequest:
    return BadRequest(f"The multipart body cannot be read: {error}", code="invalid_multipart")
