"""Which processes live, so that what one claimed is free again as soon as it is dead, however it died."""

import time
from pathlib import Path
from threading import Lock
from uuid import uuid4

from filelock import FileLock, Timeout

from tools.index.card import touched
from tools.index.database import IndexDown

_YOUNG_SECONDS = 60.0
"""Age below which a file's maker may not have locked it yet."""


class Presence:
    """A file in a folder that is locked from the first use of its name until this process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: tuple[str, FileLock] | None = None
        self._naming = Lock()

    @property
    def name(self) -> str:
        """Given once, and to nobody else. Raises IndexDown."""
        with self._naming:
            if self._held is None:
                try:
                    self._held = self._begin(uuid4().hex)
                except OSError as error:
                    raise IndexDown(f"The index cannot be written: {error}.") from error
            return self._held[0]

    def lives(self, name: str) -> bool:
        """Whether the process of this name still lives. The file of a dead one is removed."""
        if self._held is not None and self._held[0] == name:
            return True
        file = self._file(name)
        if not file.exists():
            return False
        lock = FileLock(file)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        file.unlink(missing_ok=True)
        lock.release()
        return False

    def close(self) -> None:
        """Be dead."""
        with self._naming:
            if self._held is not None:
                name, lock = self._held
                self._file(name).unlink(missing_ok=True)
                lock.release()
                self._held = None

    def _begin(self, name: str) -> tuple[str, FileLock]:
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.glob("*.alive"):  # what dead processes left behind
            if time.time() - touched(file) > _YOUNG_SECONDS:
                self.lives(file.stem)
        lock = FileLock(self._file(name), thread_local=False)
        lock.acquire()
        return name, lock

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.alive"
