"""A day's tokens: counted for every key, kept within its quota."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from agents.core.budget import BudgetExceeded, BudgetMeter, CallCost
from agents.engines.scripted import ScriptedEngine
from app.access.caller import Caller, Quota
from app.access.quotas import DailyQuota
from app.db.session import Database
from app.errors import Busy, QuotaExceeded
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import body

pytestmark = pytest.mark.anyio
MIDNIGHT = 1_699_920_000.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = MIDNIGHT + 3600

    def __call__(self) -> float:
        return self.now


def caller(day: int | None, run: int | None = None) -> Caller:
    """A key with limits on tokens."""
    return Caller("acme", "k", quota=Quota(tokens_per_day=day, tokens_per_run=run))


async def test_a_run_may_spend_what_is_left_of_the_day(records: Database) -> None:
    clock = Clock()
    allowance = DailyQuota(records, clock)
    assert (await allowance.admit(caller(100), 0)).quota.tokens_per_run == 100
    await records.write(allowance.usage("k", 60))
    await records.write(allowance.usage("other", 1000))
    assert (await allowance.admit(caller(100), 0)).quota.tokens_per_run == 40
    assert (await allowance.admit(caller(100, run=7), 0)).quota.tokens_per_run == 7
    assert (await allowance.admit(caller(100), 30)).quota.tokens_per_run == 10
    assert (await allowance.admit(caller(None), 0)).quota.tokens_per_run is None
    for at_work, spent in ((40, 0), (0, 40)):
        await records.write(allowance.usage("k", spent))
        with pytest.raises(QuotaExceeded) as caught:
            await allowance.admit(caller(100), at_work)
        assert caught.value.retry_after == 23 * 3600
    clock.now = MIDNIGHT + 24 * 3600
    assert (await allowance.admit(caller(100), 0)).quota.tokens_per_run == 100


async def test_runs_at_once_share_what_is_left(records: Database) -> None:
    clock = Clock()
    allowance = DailyQuota(records, clock)
    first, second = [await allowance.admit(caller(100), 0) for _ in range(2)]
    one, other = BudgetMeter(first.quota.run, first.token_pool), BudgetMeter(second.quota.run, second.token_pool)
    one.reserve(CallCost(tokens=70))
    assert other.left("tokens") == 30
    with pytest.raises(BudgetExceeded):
        other.reserve(CallCost(tokens=31))
    one.settle(CallCost(tokens=70), CallCost(tokens=20))
    other.reserve(CallCost(tokens=80))
    with pytest.raises(Busy):
        await allowance.admit(caller(100), 20)
    clock.now += 24 * 3600
    assert (await allowance.admit(caller(100), 0)).quota.tokens_per_run == 100
    clock.now -= 24 * 3600
    other.close()
    third = await allowance.admit(caller(100), 20)
    assert third.token_pool is not None and third.token_pool.left == 80, "what a call had reserved that was cancelled"


async def test_days_long_past_are_forgotten(records: Database) -> None:
    clock = Clock()
    allowance = DailyQuota(records, clock)
    await records.write(allowance.usage("k", 60))
    clock.now += 399 * 24 * 3600
    await allowance.sweep()
    clock.now = MIDNIGHT
    assert (await allowance.admit(caller(100), 0)).quota.tokens_per_run == 40
    clock.now += 402 * 24 * 3600
    await allowance.sweep()
    clock.now = MIDNIGHT
    assert (await allowance.admit(caller(100), 0)).quota.tokens_per_run == 100


async def test_over_http_the_next_run_is_refused(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    app = create_app(settings, engine)
    async with app.router.lifespan_context(app):
        keys = app.state.service.keys
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:

            async def ask(secret: str) -> httpx.Response:
                headers = {"authorization": f"Bearer {secret}"}
                return await client.post("/v1/answers", json=body(video_path), headers=headers)

            free, bound = keys.create("acme"), keys.create("acme", quota={"tokens_per_day": 5000})
            for each in (free, bound):
                assert (await ask(each.secret)).json()["answer"] == "red"
                await app.state.service.database.write(
                    DailyQuota(app.state.service.database).usage(each.record.id, 4500)
                )
            refused = await ask(bound.secret)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
            assert (refused.headers["x-should-retry"], int(refused.headers["retry-after"]) > 0) == ("false", True)
            assert (await ask(free.secret)).status_code == 200
