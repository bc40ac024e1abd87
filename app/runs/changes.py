"""What happens in runs, as changes to the records: many together take few statements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from app.records import EventRecord, RunRecord, UsageRecord

Change = Callable[[Session], object]
"""Something to do in a transaction. It may be done more than once, and makes nothing but rows."""
Row = Mapping[str, Any]


class Merged(ABC):
    """A change that is made together with others of its kind."""

    def __call__(self, session: Session) -> None:
        apply(session, [self])

    @abstractmethod
    def join(self, batch: Batch) -> None:
        """Be one of a batch."""


@dataclass(frozen=True, slots=True)
class Begun(Merged):
    """A new run. All its columns are in the row, which is made where it is written, off the event loop."""

    run: str
    row: Callable[[], Row]

    def join(self, batch: Batch) -> None:
        batch.runs[self.run] = dict(self.row())


@dataclass(frozen=True, slots=True)
class Changed(Merged):
    """New values of columns of a run."""

    run: str
    values: Row

    def join(self, batch: Batch) -> None:
        changed = batch.runs if self.run in batch.runs else batch.changed
        changed.setdefault(self.run, {}).update(self.values)


@dataclass(frozen=True, slots=True)
class Happened(Merged):
    """An event of a run; its row is made off the event loop."""

    row: Callable[[], Row]

    def join(self, batch: Batch) -> None:
        batch.events.append(self.row())


@dataclass(frozen=True, slots=True)
class Charged(Merged):
    """One more run of a key on a day, and the tokens that it took."""

    key: str
    day: str
    tokens: int

    def join(self, batch: Batch) -> None:
        batch.used[self.key, self.day] += 1
        batch.tokens[self.key, self.day] += self.tokens


@dataclass(slots=True)
class Batch:
    """What is to be written: rows of new runs, columns of older ones, events, and what keys have used."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[Row] = field(default_factory=list)
    used: Counter[tuple[str, str]] = field(default_factory=Counter)
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)

    def write(self, session: Session) -> None:
        """Write all of it."""
        if self.runs:
            session.execute(insert(RunRecord), list(self.runs.values()))
        for run, values in self.changed.items():
            _update(session, update(RunRecord).where(RunRecord.id == run).values(values))
        if self.events:
            session.execute(insert(EventRecord), self.events)
        for (key, day), runs in self.used.items():
            self._charge(session, key, day, runs)

    def _charge(self, session: Session, key: str, day: str, runs: int) -> None:
        tokens = self.tokens[key, day]
        more = {"runs": UsageRecord.runs + runs, "tokens": UsageRecord.tokens + tokens}
        row = update(UsageRecord).where(UsageRecord.key == key, UsageRecord.day == day)
        if not _update(session, row.values(more)):
            session.execute(insert(UsageRecord), [{"key": key, "day": day, "runs": runs, "tokens": tokens}])


def apply(session: Session, changes: Sequence[Change]) -> None:
    """Make changes as if one after another."""
    batch = Batch()
    for change in changes:
        if isinstance(change, Merged):
            change.join(batch)
        else:
            batch.write(session)
            batch = Batch()
            change(session)
    batch.write(session)


def _update(session: Session, statement: Any) -> int:
    """How many rows an update has changed. Nothing of them is in the session."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return int(result.rowcount)  # type: ignore[attr-defined]
