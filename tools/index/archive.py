"""All indexes of one service: a folder for each tenant, in it one for each film and builder."""

import hashlib
import json
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import RLock
from uuid import uuid4

from tools.embedder import Embedder
from tools.index.builder import Builder
from tools.index.database import IndexDown
from tools.index.index import MOST, By, Index
from tools.index.presence import Presence
from tools.index.union import Union
from tools.line import Hit, Line, Source
from tools.moment import Span

_CARD = "card.json"
_CARDS = f"[0-9a-f]*/{_CARD}"
_PRESENT = "processes"
_SETTLED = 1_000_000_000
"""Nanoseconds after which what changed in a folder shows in its time for certain."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of an index without opening it. `video` is the sha256 of the film, `created` seconds since 1970."""

    id: str
    video: str
    duration: float
    builder: Builder
    created: float


class Archive:
    """Indexes in a folder, opened when needed. Safe under threads and processes. Raises IndexDown.

    `memory`: bytes of indexes kept open, by estimate; the least recently used is closed first. `most`: lines of one.
    """

    def __init__(self, folder: Path, embedder: Embedder, *, memory: int = 1 << 30, most: int = MOST) -> None:
        self.embedder = embedder
        self._folder = folder
        self._memory = memory
        self._most = most
        self._lock = RLock()
        self._open: OrderedDict[Path, Index] = OrderedDict()
        self._presence: Presence | None = None
        self._unions: OrderedDict[str, Union] = OrderedDict()
        self._listed: dict[Path, tuple[int, dict[Path, Card]]] = {}

    def open(
        self,
        tenant: str,
        video: str,
        duration: float,
        builder: Builder,
        hear: Callable[[], Sequence[Line]] | None = None,
    ) -> Index:
        """A tenant's index of a film by a builder; begun if there is none. `hear`: see Index."""
        folder = self._folder_of(tenant, video, builder)
        with self._lock:
            if folder not in self._open:
                _describe(folder, Card(_id(folder), video, duration, builder, time.time()))
                present = self._present()
                self._open[folder] = Index(
                    duration, embedder=self.embedder, folder=folder, presence=present, most=self._most, hear=hear
                )
            self._open.move_to_end(folder)
            self._close_some()
            return self._open[folder]

    def cards(self, tenant: str) -> list[Card]:
        """A tenant's indexes, the oldest first."""
        return list(self._listing(tenant).values())

    def delete(self, tenant: str, id_: str) -> bool:
        """Remove a tenant's index. Whoever still uses it goes on with an empty one. False if there is none."""
        folder = self._named(tenant, id_)
        if folder is None:
            return False
        with self._lock:
            if index := self._open.pop(folder, None):
                index.forget()
            gone = folder.with_name(f"part-{uuid4().hex}")
            with suppress(OSError):  # another process was first
                folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        return True

    def bytes(self, tenant: str, id_: str | None = None) -> int:
        """What a tenant's indexes, or one of them, take on the disk."""
        place = self._place(tenant) if id_ is None else self._named(tenant, id_)
        return sum(_size(file) for file in place.rglob("*")) if place else 0

    def search(
        self,
        tenant: str,
        query: str,
        k: int = 8,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[Source, ...] = (),
        by: By = "both",
    ) -> list[tuple[Card, Hit]]:
        """The k best hits in all of a tenant's films that this embedder made vectors for, each in its newest index.

        See Index.search. Raises EmbedderDown.
        """
        vector = self.embedder.embed([query])[0] if by == "both" else None
        newest = {card.video: folder for folder, card in self._listing(tenant).items() if self._comparable(card)}
        with self._lock:
            union = self._unions.setdefault(tenant, Union())
            self._unions.move_to_end(tenant)
            self._close_some()
        folders = list(newest.values())
        found = union.search(folders, query, vector, k, span=span, level=level, sources=sources)
        cards = self._listing(tenant)
        return [(cards[folder], hit) for folder, hit in found if folder in cards]

    def close(self) -> None:
        """Save what is open, and be gone for other processes."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].save()
            if self._presence is not None:
                self._presence.close()
                self._presence = None

    def _comparable(self, card: Card) -> bool:
        return card.builder.embedder == self.embedder.name

    def _listing(self, tenant: str) -> dict[Path, Card]:
        """A tenant's indexes by folder, the oldest first."""
        place = self._place(tenant)
        try:
            changed = place.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        then, listing = self._listed.get(place, (0, {}))
        if then != changed:
            found = [(card, file.parent) for file in place.glob(_CARDS) if (card := _card(file))]
            found.sort(key=lambda each: (each[0].created, each[0].id))
            listing = {folder: card for card, folder in found}
            if time.time_ns() - changed > _SETTLED:
                self._listed[place] = changed, listing
        return listing

    def _close_some(self) -> None:
        """Close what was not used for long, but never what was used last."""
        both = sum(index.memory for index in self._open.values())
        both += sum(union.memory for union in self._unions.values())
        while both > self._memory and len(self._unions) > 1:
            both -= self._unions.popitem(last=False)[1].memory
        while both > self._memory and len(self._open) > 1:
            _, index = self._open.popitem(last=False)
            both -= index.memory
            with suppress(IndexDown):
                index.save()

    def _present(self) -> Presence:
        if self._presence is None:
            self._presence = Presence(self._folder / _PRESENT)
            self._presence.sweep()
        return self._presence

    def _place(self, tenant: str) -> Path:
        """Names of tenants are no names of folders."""
        return self._folder / hashlib.sha256(tenant.encode()).hexdigest()[:32]

    def _folder_of(self, tenant: str, video: str, builder: Builder) -> Path:
        return self._place(tenant) / f"{video}-{builder.digest}"

    def _named(self, tenant: str, id_: str) -> Path | None:
        return next((folder for folder, card in self._listing(tenant).items() if card.id == id_), None)


def _id(folder: Path) -> str:
    """Names an index everywhere; the same film and builder of two tenants have two."""
    return f"idx_{hashlib.sha256(f'{folder.parent.name}/{folder.name}'.encode()).hexdigest()[:32]}"


def _describe(folder: Path, card: Card) -> None:
    """Make a folder with a card in it, at once or not at all, unless there is one."""
    if (folder / _CARD).exists():
        return
    part = folder.with_name(f"part-{uuid4().hex}")
    try:
        part.mkdir(parents=True)
        (part / _CARD).write_text(json.dumps(asdict(card)))
        part.rename(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        if not (folder / _CARD).exists():  # else another process was first
            raise IndexDown(f"The index cannot be written: {error}.") from error


def _card(file: Path) -> Card | None:
    """What a card says; None if it cannot be read or was written by another version."""
    try:
        said = json.loads(file.read_text())
        return Card(**{**said, "builder": Builder(**said["builder"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
