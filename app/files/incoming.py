"""A folder where files grow while they arrive. What is in it belongs to no one and is gone at the next start."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from app.files.disk import check_room, full_disk_told


class Part:
    """A file of our own naming that is being written, with its size in bytes and, once finished, its sha256."""

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
        with full_disk_told():
            check_room(self.path.parent, self._spare + len(chunk))
            rest = memoryview(chunk)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._digest.update(chunk)
        self.size += len(chunk)

    def finish(self) -> None:
        """Return when everything that was written lasts; blocks. Raises StorageFull."""
        with full_disk_told():
            os.fsync(self._file.fileno())


class Incoming:
    """Hands out files to write and removes what is not moved away. `spare` bytes of the disk are left free.

    Each file is locked by its writer, so whatever is not locked was left by a process that died.
    """

    def __init__(self, folder: Path, spare: int) -> None:
        self._folder = folder
        self._spare = spare

    @contextmanager
    def part(self) -> Iterator[Part]:
        """A file to write, gone at the end unless it was moved away. Raises StorageFull."""
        with full_disk_told():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_room(self._folder, self._spare)
            handle, path = self._claimed()
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                yield Part(path, file, self._spare)
        finally:
            path.unlink(missing_ok=True)

    def _claimed(self) -> tuple[int, Path]:
        """A new file, locked. One that was swept before it was locked is made anew."""
        while True:
            handle, name = tempfile.mkstemp(suffix=".part", dir=self._folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle, Path(name)
            os.close(handle)

    def sweep(self) -> None:
        """Remove what processes that died have left; blocks."""
        for path in self._folder.glob("*.part"):
            with suppress(FileNotFoundError), path.open("rb") as file, suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
