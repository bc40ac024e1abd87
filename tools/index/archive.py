"""All indexes of a service: one folder per tenant, with one folder per video and configuration."""

import hashlib
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock, RLock
from time import monotonic
from typing import NamedTuple
from uuid import uuid4

from tools.index.embedder import Embedder, Embeddings
from tools.index.entries import EntrySource, Hit
from tools.index.index import ENTRIES_FILE, MAX_ENTRIES, Index, IndexFull, SearchBy, change_count, set_aside_damaged
from tools.index.leases import ProcessLiveness
from tools.index.metadata import (
    METADATA_FILE,
    METADATA_GLOB,
    IndexConfig,
    IndexMetadata,
    index_id,
    read_metadata,
    write_metadata,
)
from tools.index.search import SearchIndex
from tools.index.storage import EntryRow, EntryStore, IndexDamaged, IndexUnavailable, file_size, modified_at
from tools.video.sampling import Span

_FRESH_SECONDS = 1.0


class MultiIndex:
    """The lines of several folders in one view, no more than a second older than they are. Safe under threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._clear()

    @property
    def memory(self) -> int:
        """Bytes, by estimate."""
        return self._view.memory

    def search(
        self,
        folders: Sequence[Path],
        query: str,
        vector: Embeddings | None,
        k: int,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[EntrySource, ...] = (),
    ) -> list[tuple[Path, Hit]]:
        """The k best lines of these folders, best first. Raises IndexUnavailable."""
        with self._lock:
            self._refresh(folders)
            mask = self._view.table.mask(span, level, sources)
            found = self._view.search(query, vector, k, mask, distinct=True)
            return [_by_folder(self._members, hit) for hit in found]

    def _clear(self) -> None:
        self._view = SearchIndex()
        self._members: list[_Member] = []
        self._read_at = -_FRESH_SECONDS

    def _refresh(self, folders: Sequence[Path]) -> None:
        known = [member.folder for member in self._members]
        if known[: len(folders)] != list(folders[: len(known)]):
            self._clear()  # one is gone: they are read anew
            known = []
        if len(known) == len(folders) and monotonic() - self._read_at < _FRESH_SECONDS:
            return
        if any(member.has_removals() for member in self._members):
            self._clear()  # lines were removed
            known = []
        self._members += [_Member(place, folder) for place, folder in enumerate(folders) if place >= len(known)]
        for member in self._members:
            self._view.add(member.new_rows(self._view.last))
        self._read_at = monotonic()


class _Member:
    """One of the folders: which of its lines are known."""

    def __init__(self, place: int, folder: Path) -> None:
        self.folder = folder
        self._place = place
        self._rows: EntryStore | None = None
        self._changes = -1
        self._generation = 0
        self._last = 0

    def new_rows(self, last: int) -> list[EntryRow]:
        """Lines that were not known, numbered on from the last number, each id after the place of the folder."""
        try:
            rows = self._unknown()
        except IndexDamaged as damaged:
            set_aside_damaged(self.folder, damaged)
            self._rows, rows = EntryStore(self.folder / ENTRIES_FILE), []
        self._last = rows[-1].number if rows else self._last
        return [
            row._replace(number=number, line=replace(row.line, id=f"{self._place}/{row.line.id}"))
            for number, row in enumerate(rows, last + 1)
        ]

    def has_removals(self) -> bool:
        """Whether entries were removed since the last call of `new_rows`."""
        return (
            self._rows is not None
            and change_count(self.folder) != self._changes
            and self._rows.generation() != self._generation
        )

    def _unknown(self) -> list[EntryRow]:
        self._rows = self._rows or EntryStore(self.folder / ENTRIES_FILE)
        now = change_count(self.folder)
        if 0 <= now == self._changes:
            return []
        self._changes, self._generation = now, self._rows.generation()
        return self._rows.after(self._last, self._last)


def _by_folder(members: Sequence[_Member], hit: Hit) -> tuple[Path, Hit]:
    place, _, name = hit.id.partition("/")
    return members[int(place)].folder, replace(hit, id=name)


_LIVENESS_FOLDER = "processes"
_MAX_OPEN = 256
"""Indexes kept open however small they are."""
_PARTIAL_SECONDS = 24 * 3600.0
"""Seconds after which what a process was making is left over from one that died."""
_MTIME_RESOLUTION = 1_000_000_000
"""Nanoseconds after which what changed in a folder shows in its time for certain."""


class IndexSummary(NamedTuple):
    """How many lines an index has by source and level, which clips failed and why, what it took by name."""

    lines: Mapping[tuple[str, float], int]
    failures: Mapping[str, str]
    cost: Mapping[str, float]


class IndexArchive:
    """Indexes in a folder, made and opened when they are first used. Safe under threads and processes.

    `memory`: bytes of indexes kept open, by estimate; the least recently used is closed first. `most`: lines of one.
    `room`: bytes on the disk with which a tenant gets no new index. Raises IndexUnavailable.
    """

    def __init__(
        self, folder: Path, embedder: Embedder, *, memory: int = 1 << 30, most: int = MAX_ENTRIES, room: int = 4 << 30
    ) -> None:
        self.embedder = embedder
        self._folder = folder
        self._memory = memory
        self._most = most
        self._room = room
        self._lock = RLock()
        self._open: OrderedDict[Path, Index] = OrderedDict()
        self._unions: OrderedDict[str, MultiIndex] = OrderedDict()
        self._listed: dict[Path, tuple[int, dict[Path, IndexMetadata]]] = {}
        self._presence = ProcessLiveness(folder / _LIVENESS_FOLDER)

    def open(self, tenant: str, video: str, duration: float, builder: IndexConfig, label: str = "") -> Index:
        """A tenant's index of a video by a builder, begun when it is first used if there is none.

        Using a new one raises IndexFull if the tenant has no room for it.
        """
        folder = self._folder_of(tenant, video, builder)
        with self._lock:
            if folder not in self._open:
                metadata = IndexMetadata(index_id(folder), tenant, video, label, duration, builder, time.time())
                self._open[folder] = Index(
                    duration,
                    embedder=self.embedder,
                    folder=folder,
                    presence=self._presence,
                    most=self._most,
                    begin=lambda: self._begin(folder, metadata),
                )
            self._open.move_to_end(folder)
            self._close_some()
            return self._open[folder]

    def id_of(self, tenant: str, video: str, builder: IndexConfig) -> str:
        """The id that a tenant's index of a video by a builder has or would have."""
        return index_id(self._folder_of(tenant, video, builder))

    def summary(self, metadata: IndexMetadata) -> IndexSummary:
        """What is in an index, without opening it."""
        folder = self._folder_of(metadata.tenant, metadata.video, metadata.config)
        try:
            rows = EntryStore(folder / ENTRIES_FILE)
            return IndexSummary(rows.count_by_source(), rows.failures(), rows.cost())
        except IndexDamaged:
            self.open(
                metadata.tenant, metadata.video, metadata.duration, metadata.config, metadata.label
            ).facts()  # begins anew
            return IndexSummary({}, {}, {})

    def list_indexes(self, tenant: str) -> list[IndexMetadata]:
        """A tenant's indexes, the oldest first."""
        return list(self._listing(tenant).values())

    def delete(self, tenant: str, id_: str) -> bool:
        """Remove a tenant's index. Whoever still uses it goes on with an empty one. False if there is none."""
        folder = self._named(tenant, id_)
        if folder is None:
            return False
        with self._lock:
            if index := self._open.pop(folder, None):
                index.detach()
            gone = folder.with_name(f"part-{uuid4().hex}")
            with suppress(OSError):  # another process was first
                folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        return True

    def bytes(self, tenant: str, id_: str | None = None) -> int:
        """What a tenant's indexes, or one of them, take on the disk."""
        place = self._place(tenant) if id_ is None else self._named(tenant, id_)
        return sum(file_size(file) for file in place.rglob("*")) if place else 0

    def search(
        self,
        tenant: str,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[EntrySource, ...] = (),
        by: SearchBy = "both",
    ) -> list[tuple[IndexMetadata, Hit]]:
        """The k best hits in all of a tenant's videos that this embedder made vectors for, each in its newest index.

        See Index.search. Raises EmbedderUnavailable.
        """
        vector = self.embedder.embed([query])[0] if by == "both" else None
        newest = {
            metadata.video: folder for folder, metadata in self._listing(tenant).items() if self._comparable(metadata)
        }
        with self._lock:
            union = self._unions.setdefault(tenant, MultiIndex())
            self._unions.move_to_end(tenant)
            self._close_some()
        folders = list(newest.values())
        found = union.search(folders, query, vector, k, span=span, level=level, sources=sources)
        metadata = self._listing(tenant)
        return [(metadata[folder], hit) for folder, hit in found if folder in metadata]

    def delete_unused(self, seconds: float) -> list[IndexMetadata]:
        """Remove the indexes that nobody has opened for so long, and unfinished ones. Returns their metadata."""
        gone = []
        for file in self._folder.glob(f"*/{METADATA_GLOB}"):
            metadata = read_metadata(file)
            if (
                metadata is not None
                and time.time() - modified_at(file) > seconds
                and self.delete(metadata.tenant, metadata.id)
            ):
                gone.append(metadata)
        for part in self._folder.glob("*/part-*"):
            if time.time() - modified_at(part) > _PARTIAL_SECONDS:
                shutil.rmtree(part, ignore_errors=True)
        return gone

    def all(self) -> list[IndexMetadata]:
        """The indexes of all tenants."""
        return [metadata for file in self._folder.glob(f"*/{METADATA_GLOB}") if (metadata := read_metadata(file))]

    def close(self) -> None:
        """Save the open indexes and release this process's liveness lock."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].save()
            self._presence.close()

    def _begin(self, folder: Path, metadata: IndexMetadata) -> None:
        """Make the folder of an index, if there is none and there is room; note that it is used."""
        if not (folder / METADATA_FILE).exists():
            if self.bytes(metadata.tenant) >= self._room:
                raise IndexFull(f"The indexes of this tenant take {self._room} bytes or more. Delete some of them.")
            write_metadata(folder, metadata)
        with suppress(OSError):
            os.utime(folder / METADATA_FILE)

    def _comparable(self, metadata: IndexMetadata) -> bool:
        return metadata.config.embedder == self.embedder.name

    def _listing(self, tenant: str) -> dict[Path, IndexMetadata]:
        """A tenant's indexes by folder, the oldest first."""
        place = self._place(tenant)
        try:
            changed = place.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        then, listing = self._listed.get(place, (0, {}))
        if then != changed:
            found = [(metadata, file.parent) for file in place.glob(METADATA_GLOB) if (metadata := read_metadata(file))]
            found.sort(key=lambda each: (each[0].created, each[0].id))
            listing = {folder: metadata for metadata, folder in found}
            if time.time_ns() - changed > _MTIME_RESOLUTION:
                self._listed[place] = changed, listing
        return listing

    def _close_some(self) -> None:
        """Close what was not used for long, but never what was used last."""
        both = sum(index.memory for index in self._open.values())
        both += sum(union.memory for union in self._unions.values())
        while both > self._memory and len(self._unions) > 1:
            both -= self._unions.popitem(last=False)[1].memory
        while (both > self._memory or len(self._open) > _MAX_OPEN) and len(self._open) > 1:
            _, index = self._open.popitem(last=False)
            both -= index.memory
            with suppress(IndexUnavailable):
                index.save()

    def _place(self, tenant: str) -> Path:
        """Names of tenants are no names of folders."""
        return self._folder / hashlib.sha256(tenant.encode()).hexdigest()[:32]

    def _folder_of(self, tenant: str, video: str, builder: IndexConfig) -> Path:
        return self._place(tenant) / f"{video}-{builder.digest}"

    def _named(self, tenant: str, id_: str) -> Path | None:
        return next((folder for folder, metadata in self._listing(tenant).items() if metadata.id == id_), None)
