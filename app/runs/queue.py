"""A bounded queue that shares the slots for runs fairly among API keys."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from app.access.caller import Caller
from app.errors import Busy, ShuttingDown

_LAST_RUN_WEIGHT = 0.2
"""Weight of the last run in the moving average of how long a run takes."""


@dataclass(eq=False, slots=True)
class Waiter:
    """A queued run. `admitted` is resolved when it gets a slot. A `patient` one is never dropped for another."""

    admitted: asyncio.Future[None]
    patient: bool


class FairQueue:
    """Lets at most `slots` runs work at once. Up to `queue` more wait, at most `max_wait` seconds each.

    Free slots go to the keys in turn, so a key with a thousand queued requests delays another key's request by one
    run, not by a thousand. A key that has reached its quota of concurrent runs is skipped. Patient runs (those without
    a time limit) are never dropped, so each key may fill at most half of the queue with them.
    """

    def __init__(self, slots: int, queue: int, max_wait: float) -> None:
        self._places = slots
        self._queue = queue
        self._patience = max_wait
        self._working: Counter[str] = Counter()
        self._lines: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self._most: dict[str, int] = {}
        self._seconds = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @property
    def running(self) -> int:
        """Number of runs that hold a slot."""
        return self._working.total()

    @property
    def waiting(self) -> int:
        """Number of queued runs."""
        return sum(map(len, self._lines.values()))

    @asynccontextmanager
    async def slot(self, caller: Caller, max_wait: float | None = None) -> AsyncIterator[None]:
        """Wait for a slot and hold it. `max_wait` is in seconds; with inf the run is patient.

        Raises Busy if the queue is full, or the wait is or would be too long; ShuttingDown if the queue is closed. A
        task that is cancelled while waiting leaves the queue.
        """
        key = caller.key
        self._most[key] = min(caller.quota.concurrent_runs or self._places, self._places)
        await self._wait(key, self._patience if max_wait is None else max_wait)
        began = monotonic()
        try:
            yield
        finally:
            took = monotonic() - began
            self._seconds += (took - self._seconds) * (_LAST_RUN_WEIGHT if self._seconds else 1.0)
            self._leave(key)

    def close(self) -> None:
        """Admit no more runs and reject the queued ones with ShuttingDown. Active runs may finish."""
        self._closed = True
        for line in self._lines.values():
            for waiter in line:
                _reject(waiter, ShuttingDown())
        self._lines.clear()

    def check_open(self) -> None:
        """Raise ShuttingDown if the queue is closed."""
        if self._closed:
            raise ShuttingDown()

    async def idle(self) -> None:
        """Wait until no run holds a slot."""
        await self._idle.wait()

    async def _wait(self, key: str, patience: float) -> None:
        self.check_open()
        waiter = self._join(key, patience)
        self._admit()
        if waiter.admitted.done():
            return
        try:
            async with asyncio.timeout(None if waiter.patient else patience):
                await waiter.admitted
        except BaseException as error:
            self._give_up(key, waiter)
            if isinstance(error, TimeoutError):
                raise self._busy(key, f"After {patience:g} s it was still not this question's turn.") from None
            raise

    def _join(self, key: str, patience: float) -> Waiter:
        """Append to the key's own line."""
        waiter = Waiter(asyncio.get_running_loop().create_future(), math.isinf(patience))
        at_once = self._free(key) and not self._lines.get(key)
        if not at_once and waiter.patient:
            self._check_share(key)
        if not at_once and self._expected(key) > patience:
            raise self._busy(key, f"It would be more than {patience:g} s until this question's turn.")
        if not at_once and self.waiting >= self._queue:
            self._make_room(key)
        self._lines.setdefault(key, deque()).append(waiter)
        return waiter

    def _check_share(self, key: str) -> None:
        if sum(waiter.patient for waiter in self._lines.get(key, ())) >= max(1, self._queue // 2):
            raise self._busy(key, "As many of this key's questions wait in the background as may.")

    def _make_room(self, key: str) -> None:
        """Drop the last impatient run of the longest line, if this key has fewer queued; else raise Busy."""
        full = f"{self.running} questions are being answered and {self._queue} wait, as many as may."
        lines = {each: line for each, line in self._lines.items() if not all(waiter.patient for waiter in line)}
        longest = max(lines, key=lambda each: len(lines[each]), default=key)
        if len(lines.get(longest, ())) <= len(self._lines.get(key, ())) + 1:
            raise self._busy(key, full)
        last = next(waiter for waiter in reversed(lines[longest]) if not waiter.patient)
        lines[longest].remove(last)
        _reject(last, self._busy(longest, full))

    def _free(self, key: str) -> bool:
        return self.running < self._places and self._working[key] < self._most[key]

    def _admit(self) -> None:
        """Give the free slots to the keys in turn."""
        while turn := next((key for key, line in self._lines.items() if line and self._free(key)), None):
            place = self._lines[turn].popleft().admitted
            self._lines.move_to_end(turn)
            if not self._lines[turn]:
                del self._lines[turn]
            if not place.done():  # else its waiter was cancelled and has yet to notice
                self._working[turn] += 1
                self._idle.clear()
                place.set_result(None)

    def _give_up(self, key: str, waiter: Waiter) -> None:
        """Leave the queue, or release the slot if it was granted at the same moment."""
        place = waiter.admitted
        if place.done() and not place.cancelled() and not place.exception():
            self._leave(key)
        elif waiter in (line := self._lines.get(key, deque())):
            line.remove(waiter)
            if not line:
                del self._lines[key]

    def _leave(self, key: str) -> None:
        self._working[key] -= 1
        if not self._working[key]:
            del self._working[key]
        if not self._working:
            self._idle.set()
        self._admit()

    def _expected(self, key: str) -> float:
        """Estimated wait in seconds of a new run, from the average duration of runs."""
        own = len(self._lines.get(key, ()))
        before = own + sum(min(len(line), own + 1) for each, line in self._lines.items() if each != key)
        return self._seconds * max((before + 1) / self._places, (own + 1) / self._most[key])

    def _busy(self, key: str, why: str) -> Busy:
        return Busy(f"{why} Try again soon.", retry_after=min(max(1, math.ceil(self._expected(key))), 60))


def _reject(waiter: Waiter, error: Exception) -> None:
    if not waiter.admitted.done():
        waiter.admitted.set_exception(error)
