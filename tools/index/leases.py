"""Leases on clips, so that one process captions each clip; those of a dead process are free at once."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from uuid import uuid4

from filelock import FileLock, Timeout

from tools.index.storage import IndexDamaged, IndexUnavailable, SqliteDatabase, modified_at

_SCHEMA = "CREATE TABLE IF NOT EXISTS claim (clip TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT;"


class Leases:
    """Leases in a file, or in memory without one. Safe under threads and processes. Raises IndexUnavailable."""

    def __init__(self, path: Path | None = None) -> None:
        try:
            self._database = SqliteDatabase(path, _SCHEMA, lasting=False)
        except IndexDamaged:
            if path is not None:
                path.unlink()
            self._database = SqliteDatabase(path, _SCHEMA, lasting=False)

    def acquire(self, clip: str, owner: str, lives: Callable[[str], bool]) -> bool:
        """Lease a clip to `owner`; False while it is leased, unless the process that holds the lease has died."""
        with self._database.transaction() as connection:
            holder = connection.execute("SELECT owner FROM claim WHERE clip = ?", (clip,)).fetchone()
            if holder and lives(holder[0]):
                return False
            connection.execute("INSERT OR REPLACE INTO claim VALUES (?, ?)", (clip, owner))
        return True

    def release(self, clip: str, owner: str) -> None:
        """End the lease of `owner` on a clip."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM claim WHERE clip = ? AND owner = ?", (clip, owner))


_YOUNG_SECONDS = 60.0
"""Age below which a file's maker may not have locked it yet."""


class ProcessLiveness:
    """A file in a folder that is locked from the first use of its name until this process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: tuple[str, FileLock] | None = None
        self._naming = Lock()

    @property
    def name(self) -> str:
        """Given once, and to nobody else. Raises IndexUnavailable."""
        with self._naming:
            if self._held is None:
                try:
                    self._held = self._begin(uuid4().hex)
                except OSError as error:
                    raise IndexUnavailable(f"The index cannot be written: {error}.") from error
            return self._held[0]

    def is_alive(self, name: str) -> bool:
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
        """Release this process's liveness lock."""
        with self._naming:
            if self._held is not None:
                name, lock = self._held
                self._file(name).unlink(missing_ok=True)
                lock.release()
                self._held = None

    def _begin(self, name: str) -> tuple[str, FileLock]:
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.glob("*.alive"):  # what dead processes left behind
            if time.time() - modified_at(file) > _YOUNG_SECONDS:
                self.is_alive(file.stem)
        lock = FileLock(self._file(name), thread_local=False)
        lock.acquire()
        return name, lock

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.alive"
