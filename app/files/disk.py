"""Durable file operations, with a full disk reported as StorageFull."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def raising_storage_full() -> Iterator[None]:
    """Turn errors of a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("There is no room left on this service's disk.") from error
        raise


def check_free_space(folder: Path, spare: int) -> None:
    """Raise StorageFull if fewer than `spare` bytes are free where this folder is."""
    if shutil.disk_usage(folder).free < spare:
        raise StorageFull("There is too little room left on this service's disk.")


def move_durably(source: Path, target: Path) -> None:
    """Move a flushed file atomically and durably."""
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)
        source.unlink()
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Flush renames in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(source: Path, target: Path) -> None:
    """Copy to another file system, under a temporary name until complete."""
    half = target.with_name(f".{target.name}")
    try:
        shutil.copyfile(source, half)
        with half.open("rb") as file:
            os.fsync(file.fileno())
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
