"""Which processes live, so that what one claimed is free again as soon as it is dead, however it died."""

from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout


class Presence:
    """A file that is locked for as long as this process lives. `name` is given once and to nobody else."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid4().hex
        self._folder = folder
        self._lock = FileLock(self._file(self.name))
        self._lock.acquire()

    def lives(self, name: str) -> bool:
        """Whether the process of this name still lives. The file of a dead one is removed."""
        file = self._file(name)
        if name == self.name:
            return True
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

    def sweep(self) -> None:
        """Remove what dead processes left behind."""
        for file in self._folder.glob("*.alive"):
            self.lives(file.stem)

    def close(self) -> None:
        """Be dead."""
        self._file(self.name).unlink(missing_ok=True)
        self._lock.release()

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.alive"
