"""An index on the disk and what is searched of it in memory: the one is taken into the other as it grows."""

import logging
import os
import struct
from pathlib import Path

from tools.index.claims import Claims
from tools.index.database import Damaged, IndexDown
from tools.index.rows import Rows
from tools.index.vectors import Vectors, WrongVectors
from tools.index.view import View

_LOG = logging.getLogger("secondlook.index")
ROWS, VECTORS, CLAIMS = "rows.sqlite", "vectors.faiss", "claims.sqlite"
_CHANGES = struct.Struct(">24xI")
"""Where SQLite counts the changes of a file."""


class Store:
    """The rows of a folder, or of none, and a view of them. Not safe under threads. Raises IndexDown."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._changes = -1
        self.rows, self.view = _read(folder)
        self._era = self.rows.era()
        self.claims = Claims(folder / CLAIMS if folder else None)
        self._saved = self.view.last if self.view.vectors is not None and self._is_saved() else 0

    def refresh(self) -> None:
        """Take in what was written since, by whomever."""
        now = changes(self._folder) if self._folder else -1
        if now < 0 or now != self._changes:
            era = self.rows.era()
            if era != self._era:
                self.view, self._era, self._saved = View(), era, 0
            self.view.take(self.rows.after(self.view.last, self.view.last))
            self._changes = now

    def save(self) -> None:
        """Write the vectors as faiss's file, so that opening is quick. They are in the rows all along."""
        self.refresh()
        if self._folder is None or self.view.vectors is None or self.view.last == self._saved:
            return
        try:
            digest = self.view.vectors.write(self._folder / VECTORS)
        except OSError as error:
            raise IndexDown(f"The index cannot be written: {error}.") from error
        self.rows.note(vectors=digest, vectors_until=str(self.view.last))
        self._saved = self.view.last

    def _is_saved(self) -> bool:
        return self.rows.facts().get("vectors_until") == str(self.view.last)


def _read(folder: Path | None) -> tuple[Rows, View]:
    """A damaged file is put aside and begun anew: all that is in it can be made again."""
    if folder is None:
        return Rows(), View()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _viewed(folder)
    except OSError as error:
        raise IndexDown(f"The index cannot be read or written: {error}.") from error
    except Damaged as damaged:
        put_aside(folder, damaged)
        return _viewed(folder)


def put_aside(folder: Path, damaged: Damaged) -> None:
    """Make room for new files in place of damaged ones."""
    _LOG.error("%s It is put aside, in %s, and begun anew.", damaged, folder)
    (folder / ROWS).replace(folder / f"{ROWS}.damaged")
    (folder / VECTORS).unlink(missing_ok=True)


def _viewed(folder: Path) -> tuple[Rows, View]:
    rows = Rows(folder / ROWS)
    facts = rows.facts()
    known, until = None, 0
    if "vectors" in facts:
        try:
            known, until = Vectors.read(folder / VECTORS, facts["vectors"]), int(facts["vectors_until"])
        except WrongVectors as error:
            _LOG.warning("%s: they are made again from the rows in %s", error, folder)
    view = View(known)
    view.take(rows.after(0, until))
    view.tidy()
    return rows, view


def changes(folder: Path) -> int:
    """How often the database was changed; less than 0 if it does not say."""
    try:
        file = os.open(folder / ROWS, os.O_RDONLY)
    except OSError as error:
        raise IndexDown("The index is no longer there.") from error
    try:
        head = os.pread(file, _CHANGES.size, 0)
    finally:
        os.close(file)
    return int(_CHANGES.unpack(head)[0]) if len(head) == _CHANGES.size else -1
