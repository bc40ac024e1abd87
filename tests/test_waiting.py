"""Waiting never goes on when what is waited for cannot come any more."""

from __future__ import annotations

import asyncio

import pytest

from tests.waiting import until


def test_waiting_ends_with_the_failure_of_the_work() -> None:
    async def fail() -> None:
        raise LookupError("the model is gone")

    async def wait() -> None:
        await until(lambda: False, asyncio.ensure_future(fail()))

    with pytest.raises(LookupError, match="gone"):
        asyncio.run(wait())


def test_waiting_ends_when_the_time_is_up() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(until(lambda: False, seconds=0.01))
