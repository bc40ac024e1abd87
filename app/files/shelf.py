"""Where contents are kept: a folder of this machine, or any place that fsspec can reach by a URL."""

from __future__ import annotations

import time
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from app.errors import Misconfigured
from app.files.disk import full_disk_told, move


class FolderShelf:
    """Contents in a folder of this machine, or one that it has mounted. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, part: Path, name: str) -> None:
        """Take a finished file away and keep it; when this returns, it lasts. Raises StorageFull."""
        with full_disk_told():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            move(part, self._folder / name)

    def path(self, name: str) -> Path:
        """Where a content lies. Raises FileNotFoundError."""
        path = self._folder / name
        path.stat()
        return path

    def remove(self, name: str) -> None:
        """Forget a content, if it is there; who has the file open may read on."""
        (self._folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """All but files that are still being copied."""
        return [path.name for path in self._folder.glob("[!.]*")]

    def age(self, name: str) -> float:
        """Seconds since a content was stored."""
        return time.time() - (self._folder / name).stat().st_mtime


class RemoteShelf:
    """Contents in a bucket or whatever else fsspec reaches. Its methods block and raise whatever that place raises."""

    def __init__(self, files: AbstractFileSystem, root: str) -> None:
        self._files = files
        self.root = root.rstrip("/")

    def put(self, part: Path, name: str) -> None:
        """Upload a finished file, which the place then keeps, and drop it here."""
        with full_disk_told():
            self._files.makedirs(self.root, exist_ok=True)
            self._files.put_file(str(part), self._at(name))
        part.unlink()

    def fetch(self, name: str, target: Path) -> None:
        """Copy a content to a file of this machine. Raises FileNotFoundError, StorageFull."""
        with full_disk_told():
            self._files.get_file(self._at(name), str(target))

    def remove(self, name: str) -> None:
        """Forget a content, if it is there."""
        if self._files.exists(self._at(name)):
            self._files.rm_file(self._at(name))

    def names(self) -> list[str]:
        """A listing, never a cached one."""
        self._files.invalidate_cache()
        if not self._files.exists(self.root):
            return []
        return [str(path).rpartition("/")[2] for path in self._files.ls(self.root, detail=False)]

    def age(self, name: str) -> float:
        """Seconds since a content was stored, by what the place says."""
        return float(time.time() - self._files.modified(self._at(name)).timestamp())

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"


Shelf = FolderShelf | RemoteShelf


def open_shelf(url: str | None, folder: Path) -> Shelf:
    """The place that a URL names; without one, the folder. Raises Misconfigured."""
    if url is None:
        return FolderShelf(folder)
    try:
        files, root = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise Misconfigured(f"SECONDLOOK_BLOBS: {url.partition(':')[0]}: cannot be used: {error}") from error
    return FolderShelf(Path(root)) if isinstance(files, LocalFileSystem) else RemoteShelf(files, root)
