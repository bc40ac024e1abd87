"""All indexes of one service: a folder for each tenant, in it one for each film and builder."""

import hashlib
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import NamedTuple
from uuid import uuid4

from tools.embedder import Embedder
from tools.index.builder import Builder
from tools.index.card import CARD, CARDS, Card, bytes_of, identify, make_card, read_card, touched
from tools.index.database import Damaged, IndexDown
from tools.index.index import MOST, By, Index, IndexFull
from tools.index.presence import Presence
from tools.index.rows import Rows
from tools.index.store import ROWS
from tools.index.union import Union
from tools.line import Hit, Source
from tools.moment import Span

_PRESENT = "processes"
_MANY = 256
"""Indexes kept open however small they are."""
_HALF_MADE = 24 * 3600.0
"""Seconds after which what a process was making is left over from one that died."""
_SETTLED = 1_000_000_000
"""Nanoseconds after which what changed in a folder shows in its time for certain."""


class Tally(NamedTuple):
    """How many lines an index has by source and level, which clips failed and why, what it took by name."""

    lines: Mapping[tuple[str, float], int]
    failures: Mapping[str, str]
    cost: Mapping[str, float]


class Archive:
    """Indexes in a folder, made and opened when they are first used. Safe under threads and processes.

    `memory`: bytes of indexes kept open, by estimate; the least recently used is closed first. `most`: lines of one.
    `room`: bytes on the disk with which a tenant gets no new index. Raises IndexDown.
    """

    def __init__(
        self, folder: Path, embedder: Embedder, *, memory: int = 1 << 30, most: int = MOST, room: int = 4 << 30
    ) -> None:
        self.embedder = embedder
        self._folder = folder
        self._memory = memory
        self._most = most
        self._room = room
        self._lock = RLock()
        self._open: OrderedDict[Path, Index] = OrderedDict()
        self._unions: OrderedDict[str, Union] = OrderedDict()
        self._listed: dict[Path, tuple[int, dict[Path, Card]]] = {}
        self._presence = Presence(folder / _PRESENT)

    def open(self, tenant: str, video: str, duration: float, builder: Builder, label: str = "") -> Index:
        """A tenant's index of a film by a builder, begun when it is first used if there is none.

        Using a new one raises IndexFull if the tenant has no room for it.
        """
        folder = self._folder_of(tenant, video, builder)
        with self._lock:
            if folder not in self._open:
                card = Card(identify(folder), tenant, video, label, duration, builder, time.time())
                self._open[folder] = Index(
                    duration,
                    embedder=self.embedder,
                    folder=folder,
                    presence=self._presence,
                    most=self._most,
                    begin=lambda: self._begin(folder, card),
                )
            self._open.move_to_end(folder)
            self._close_some()
            return self._open[folder]

    def name(self, tenant: str, video: str, builder: Builder) -> str:
        """The id that a tenant's index of a film by a builder has or would have."""
        return identify(self._folder_of(tenant, video, builder))

    def tally(self, card: Card) -> Tally:
        """What is in an index, without opening it."""
        folder = self._folder_of(card.tenant, card.video, card.builder)
        try:
            rows = Rows(folder / ROWS)
            return Tally(rows.tally(), rows.failures(), rows.cost())
        except Damaged:
            self.open(card.tenant, card.video, card.duration, card.builder, card.label).facts()  # begins anew
            return Tally({}, {}, {})

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
        return sum(bytes_of(file) for file in place.rglob("*")) if place else 0

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

    def sweep(self, seconds: float) -> list[Card]:
        """Remove the indexes that nobody has opened for so long, and what was left half made; the cards of those."""
        gone = []
        for file in self._folder.glob(f"*/{CARDS}"):
            card = read_card(file)
            if card is not None and time.time() - touched(file) > seconds and self.delete(card.tenant, card.id):
                gone.append(card)
        for part in self._folder.glob("*/part-*"):
            if time.time() - touched(part) > _HALF_MADE:
                shutil.rmtree(part, ignore_errors=True)
        return gone

    def all(self) -> list[Card]:
        """Everybody's indexes."""
        return [card for file in self._folder.glob(f"*/{CARDS}") if (card := read_card(file))]

    def close(self) -> None:
        """Save what is open, and be gone for other processes."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].save()
            self._presence.close()

    def _begin(self, folder: Path, card: Card) -> None:
        """Make the folder of an index, if there is none and there is room; note that it is used."""
        if not (folder / CARD).exists():
            if self.bytes(card.tenant) >= self._room:
                raise IndexFull(f"The indexes of this tenant take {self._room} bytes or more. Delete some of them.")
            make_card(folder, card)
        with suppress(OSError):
            os.utime(folder / CARD)

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
            found = [(card, file.parent) for file in place.glob(CARDS) if (card := read_card(file))]
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
        while (both > self._memory or len(self._open) > _MANY) and len(self._open) > 1:
            _, index = self._open.popitem(last=False)
            both -= index.memory
            with suppress(IndexDown):
                index.save()

    def _place(self, tenant: str) -> Path:
        """Names of tenants are no names of folders."""
        return self._folder / hashlib.sha256(tenant.encode()).hexdigest()[:32]

    def _folder_of(self, tenant: str, video: str, builder: Builder) -> Path:
        return self._place(tenant) / f"{video}-{builder.digest}"

    def _named(self, tenant: str, id_: str) -> Path | None:
        return next((folder for folder, card in self._listing(tenant).items() if card.id == id_), None)
