"""Many indexes searched as one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from time import monotonic

from tools.embedder import Vectors
from tools.index.database import Damaged
from tools.index.rows import Row, Rows
from tools.index.store import ROWS, changes, put_aside
from tools.index.view import View
from tools.line import Hit, Source
from tools.moment import Span

_FRESH_SECONDS = 1.0


class Union:
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
        vector: Vectors | None,
        k: int,
        *,
        span: Span | None = None,
        level: float | None = None,
        sources: tuple[Source, ...] = (),
    ) -> list[tuple[Path, Hit]]:
        """The k best lines of these folders, best first. Raises IndexDown."""
        with self._lock:
            self._refresh(folders)
            mask = self._view.table.mask(span, level, sources)
            found = self._view.search(query, vector, k, mask, distinct=True)
            return [_parted(self._members, hit) for hit in found]

    def _clear(self) -> None:
        self._view = View()
        self._members: list[_Member] = []
        self._read_at = -_FRESH_SECONDS

    def _refresh(self, folders: Sequence[Path]) -> None:
        known = [member.folder for member in self._members]
        if known[: len(folders)] != list(folders[: len(known)]):
            self._clear()  # one is gone: they are read anew
            known = []
        if len(known) == len(folders) and monotonic() - self._read_at < _FRESH_SECONDS:
            return
        if any(member.turned() for member in self._members):
            self._clear()  # lines were removed
            known = []
        self._members += [_Member(place, folder) for place, folder in enumerate(folders) if place >= len(known)]
        for member in self._members:
            self._view.take(member.news(self._view.last))
        self._read_at = monotonic()


class _Member:
    """One of the folders: which of its lines are known."""

    def __init__(self, place: int, folder: Path) -> None:
        self.folder = folder
        self._place = place
        self._rows: Rows | None = None
        self._changes = -1
        self._era = 0
        self._last = 0

    def news(self, last: int) -> list[Row]:
        """Lines that were not known, numbered on from the last number, each id after the place of the folder."""
        try:
            rows = self._unknown()
        except Damaged as damaged:
            put_aside(self.folder, damaged)
            self._rows, rows = Rows(self.folder / ROWS), []
        self._last = rows[-1].number if rows else self._last
        return [
            row._replace(number=number, line=replace(row.line, id=f"{self._place}/{row.line.id}"))
            for number, row in enumerate(rows, last + 1)
        ]

    def turned(self) -> bool:
        """Whether lines were removed since the last news."""
        return self._rows is not None and changes(self.folder) != self._changes and self._rows.era() != self._era

    def _unknown(self) -> list[Row]:
        self._rows = self._rows or Rows(self.folder / ROWS)
        now = changes(self.folder)
        if 0 <= now == self._changes:
            return []
        self._changes, self._era = now, self._rows.era()
        return self._rows.after(self._last, self._last)


def _parted(members: Sequence[_Member], hit: Hit) -> tuple[Path, Hit]:
    place, _, name = hit.id.partition("/")
    return members[int(place)].folder, replace(hit, id=name)
