"""How many requests each key has sent lately."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from app.caller import Caller
from app.errors import TooFast

_WINDOW = 60.0


class Rate:
    """Counts requests by key, each service process on its own, and lets through what the key's quota allows.

    It is a bucket that holds a minute's worth and fills evenly, so a burst after a pause is fine and a steady stream
    is held to its rate.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def count(self, caller: Caller) -> None:
        """Count one request. Raises TooFast."""
        limit = caller.quota.requests_per_minute
        if limit is None:
            return
        now, each = self._clock(), _WINDOW / limit
        full_at = max(self._full_at.get(caller.key, now), now) + each
        if full_at - now > _WINDOW + 1e-9:
            wait = math.ceil(full_at - now - _WINDOW)
            raise TooFast(f"This key may send {limit} requests a minute.", retry_after=max(1, wait))
        self._full_at[caller.key] = full_at
