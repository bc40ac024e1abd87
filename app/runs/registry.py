"""The runs that live in this process, by all that they are found by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from app.runs.live import LiveRun

Twin = tuple[str, str, str]
K = TypeVar("K")


class Registry:
    """Runs by id, by idempotency key, and by what was asked."""

    def __init__(self) -> None:
        self._runs: dict[str, LiveRun] = {}
        self._keyed: dict[tuple[str, str], LiveRun] = {}
        self._twins: dict[Twin, LiveRun] = {}

    def __iter__(self) -> Iterator[LiveRun]:
        return iter(list(self._runs.values()))

    def add(self, live: LiveRun) -> None:
        """From now on it is found."""
        self._runs[live.id] = live
        if live.idempotency_key is not None:
            self._keyed[live.caller.tenant, live.idempotency_key] = live
        if (twin := _twin(live)) is not None:
            self._twins[twin] = live

    def remove(self, live: LiveRun) -> None:
        """It is found in the records now; a retry of its request may still come (`forget`)."""
        _drop(self._runs, live.id, live)
        if live.idempotency_key is not None:
            _drop(self._keyed, (live.caller.tenant, live.idempotency_key), live)

    def forget(self, live: LiveRun) -> None:
        """No retry is expected any more."""
        if (twin := _twin(live)) is not None:
            _drop(self._twins, twin, live)

    def tokens_of(self, key: str) -> int:
        """What the runs of a key that are not over have read and written."""
        return sum(live.tokens for live in self if live.caller.key == key)

    def get(self, tenant: str, run_id: str) -> LiveRun | None:
        """A run of this tenant."""
        live = self._runs.get(run_id)
        return live if live is not None and live.caller.tenant == tenant else None

    def keyed(self, tenant: str, key: str) -> LiveRun | None:
        """The run of an idempotency key."""
        return self._keyed.get((tenant, key))

    def twin(self, tenant: str, endpoint: str, digest: str | None) -> LiveRun | None:
        """A run of the same request, under way or just over."""
        return None if digest is None else self._twins.get((tenant, endpoint, digest))


def _twin(live: LiveRun) -> Twin | None:
    return None if live.digest is None else (live.caller.tenant, live.job.endpoint, live.digest)


def _drop(found: dict[K, LiveRun], key: K, live: LiveRun) -> None:
    if found.get(key) is live:
        del found[key]
