"""Tells what happens in a run: to the records, to whoever follows it, and to who watches."""

from __future__ import annotations

from agents.draft import Reader
from agents.trace import Event
from app.runs import archive
from app.runs.book import Book
from app.runs.live import LiveRun
from app.telemetry.watching import Watcher


class Telling:
    """What a run's job speaks to."""

    def __init__(self, live: LiveRun, book: Book, watcher: Watcher) -> None:
        self._live = live
        self._book = book
        self._watcher = watcher

    def tell(self, event: Event, choice: int) -> None:
        """An event: it is kept."""
        self._book.put(archive.told(self._live.id, self._live.tell(event, choice)))
        self._watcher.told(self._live, event, choice)

    def reader(self, choice: int) -> Reader | None:
        """Who sees what is being written; nobody where nobody can be expected to. Nothing of it is kept."""
        if not (self._live.streamed or self._live.background):
            return None
        return lambda delta: self._live.hear(delta, choice)
