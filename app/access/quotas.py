"""Limits of an API key over time: requests per minute and tokens per day."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from weakref import WeakValueDictionary

from sqlalchemy import delete

from agents.core.budget import TokenPool
from app.access.caller import Caller
from app.db.session import Database
from app.db.tables import UsageRecord
from app.errors import Busy, QuotaExceeded, RateLimited
from app.runs.writer import AddUsage

_WINDOW = 60.0


class RateLimiter:
    """Counts requests per key, in this process only, against the key's quota.

    It is a bucket that holds a minute's worth and fills evenly, so a burst after a pause is fine and a steady stream
    is held to its rate.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def check(self, caller: Caller) -> None:
        """Count one request. Raises RateLimited if it is one too many."""
        limit = caller.quota.requests_per_minute
        if limit is None:
            return
        now, each = self._clock(), _WINDOW / limit
        full_at = max(self._full_at.get(caller.key, now), now) + each
        if full_at - now > _WINDOW + 1e-9:
            wait = math.ceil(full_at - now - _WINDOW)
            raise RateLimited(f"This key may send {limit} requests a minute.", retry_after=max(1, wait))
        self._full_at[caller.key] = full_at


_DAY = 24 * 3600.0
_KEPT_DAYS = 400


class DailyQuota:
    """Counts the tokens of every key per day (UTC) and enforces daily limits.

    Runs at work at once have one purse, from which each call is charged before it is made: together they spend no more
    than the limit. Other processes of the service see of that only what ended runs have spent.
    """

    def __init__(self, records: Database, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock
        self._purses: WeakValueDictionary[tuple[str, str], TokenPool] = WeakValueDictionary()

    async def admit(self, caller: Caller, at_work: int) -> Caller:
        """The caller with the token pool and quota that today's limit leaves; `at_work` tokens are being spent.

        Raises QuotaExceeded if nothing is left, Busy if runs at work have reserved all of it.
        """
        limit, now = caller.quota.tokens_per_day, self._clock()
        if limit is None:
            return caller
        used = await self._records.read(lambda session: session.get(UsageRecord, (caller.key, _day(now))))
        left = limit - at_work - (used.tokens if used else 0)
        if left <= 0:
            raise QuotaExceeded(
                f"This key may use {limit} tokens a day, and has used them. The next day begins at midnight, UTC.",
                retry_after=math.ceil(_DAY - now % _DAY),
            )
        purse = self._purse(caller.key, _day(now), left)
        if purse.left <= 0:
            raise Busy("This key's runs at work have reserved all tokens that it has left today.")
        most = min(left, caller.quota.tokens_per_run or left)
        return replace(caller, quota=caller.quota.model_copy(update={"tokens_per_run": most}), token_pool=purse)

    def usage(self, key: str, tokens: int) -> AddUsage:
        """The database write for a run of this key that has ended."""
        return AddUsage(key, _day(self._clock()), tokens)

    def _purse(self, key: str, day: str, left: int) -> TokenPool:
        """The token pool that a key's runs in this process share while one of them is at work."""
        purse = self._purses.get((key, day))
        if purse is None:
            purse = self._purses[key, day] = TokenPool(left)
        purse.left = min(purse.left, left)
        return purse

    async def sweep(self) -> None:
        """Delete old days."""
        first = _day(self._clock() - _KEPT_DAYS * _DAY)
        await self._records.write(lambda session: session.execute(delete(UsageRecord).where(UsageRecord.day < first)))


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
