"""Admission: so many at once, so many in line, every key its turn, and whoever leaves takes nothing along."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter

import pytest

from app.access.caller import Caller, Quota
from app.errors import Busy, ShuttingDown
from app.runs.queue import FairQueue

pytestmark = pytest.mark.anyio


def caller(key: str, most: int | None = None) -> Caller:
    """A key that may have so many runs at once."""
    return Caller(tenant=key, key=key, quota=Quota(concurrent_runs=most))


class Crowd:
    """Runs of several keys that work until they are told to end; remembers who came in, in order."""

    def __init__(self, gate: FairQueue) -> None:
        self.gate = gate
        self.entered: list[str] = []
        self.at_work: Counter[str] = Counter()
        self.end = asyncio.Semaphore(0)

    async def run(self, who: Caller, patience: float | None = None) -> None:
        """One run."""
        async with self.gate.slot(who, patience):
            self.entered.append(who.key)
            self.at_work[who.key] += 1
            try:
                await self.end.acquire()
            finally:
                self.at_work[who.key] -= 1

    async def send(self, who: Caller, patience: float | None = None) -> asyncio.Task[None]:
        """Start a run; returns when it works, waits or was refused."""
        task = asyncio.ensure_future(self.run(who, patience))
        await settle()
        return task

    async def finish(self, count: int) -> None:
        """Let runs end, one after another."""
        for _ in range(count):
            self.end.release()
            await settle()


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(6):
        await asyncio.sleep(0)


async def refused(task: asyncio.Task[None]) -> Busy:
    """Why a run was not let in."""
    with pytest.raises(Busy) as caught:
        await task
    return caught.value


async def test_keys_take_turns_however_many_one_of_them_sends() -> None:
    crowd = Crowd(FairQueue(1, 100, 60))
    tasks = [await crowd.send(caller("greedy")) for _ in range(6)]
    tasks += [await crowd.send(caller(key)) for key in ("a", "b", "a")]
    await crowd.finish(9)
    await asyncio.gather(*tasks)
    assert crowd.entered == ["greedy", "greedy", "a", "b", "greedy", "a", "greedy", "greedy", "greedy"]


async def test_a_key_never_has_more_at_work_than_its_quota_and_is_passed_over() -> None:
    crowd = Crowd(FairQueue(3, 100, 60))
    tasks = [await crowd.send(caller("small", most=1)) for _ in range(3)]
    assert (crowd.gate.running, crowd.gate.waiting) == (1, 2)
    tasks += [await crowd.send(caller("other")) for _ in range(2)]
    assert crowd.at_work == {"small": 1, "other": 2}
    await crowd.finish(5)
    await asyncio.gather(*tasks)


async def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    crowd = Crowd(FairQueue(1, 2, 60))
    tasks = [await crowd.send(caller("a")) for _ in range(4)]
    error = await refused(tasks.pop())
    assert error.retry_after is not None
    assert 1 <= error.retry_after <= 60
    await crowd.finish(3)
    await asyncio.gather(*tasks)


async def test_without_a_queue_nobody_waits() -> None:
    crowd = Crowd(FairQueue(1, 0, 60))
    first = await crowd.send(caller("a"))
    await refused(await crowd.send(caller("b")))
    await crowd.finish(1)
    await first


async def test_a_key_that_fills_the_queue_makes_room_for_another() -> None:
    crowd = Crowd(FairQueue(1, 3, 60))
    greedy = [await crowd.send(caller("greedy")) for _ in range(4)]
    other = [await crowd.send(caller("other")) for _ in range(2)]
    assert "as many as may" in str(await refused(greedy.pop()))  # the last of the longest line
    await refused(other.pop())  # one more would be no fairer
    await crowd.finish(4)
    await asyncio.gather(*greedy, *other)
    assert crowd.entered == ["greedy", "greedy", "other", "greedy"]


async def test_who_was_promised_a_turn_gets_it_and_so_takes_no_more_than_half_of_the_queue() -> None:
    crowd = Crowd(FairQueue(1, 4, 60))
    promised = [await crowd.send(caller("greedy"), math.inf) for _ in range(4)]
    assert "background" in str(await refused(promised.pop()))  # one works, two wait
    others = [await crowd.send(caller("other")) for _ in range(2)]
    late = await crowd.send(caller("late"))
    await refused(others.pop())  # not one of the promised ones, though their line was as long
    await refused(await crowd.send(caller("greedy")))
    await crowd.finish(5)
    await asyncio.gather(*promised, *others, late)
    assert crowd.entered == ["greedy", "greedy", "other", "late", "greedy"]


async def test_nobody_waits_longer_than_their_patience() -> None:
    crowd = Crowd(FairQueue(1, 5, 0.01))
    first = await crowd.send(caller("a"))
    assert "0.01 s" in str(await refused(await crowd.send(caller("b"))))
    patient = await crowd.send(caller("c"), math.inf)
    await asyncio.sleep(0.02)
    assert crowd.gate.waiting == 1
    await crowd.finish(2)
    await asyncio.gather(first, patient)


async def test_who_would_wait_too_long_is_told_at_once() -> None:
    gate = FairQueue(1, 50, 0.2)
    async with gate.slot(caller("a")):
        await asyncio.sleep(0.15)
    crowd = Crowd(gate)
    first, second = await crowd.send(caller("a")), await crowd.send(caller("a"))
    third = await crowd.send(caller("a"))
    assert third.done()
    assert "more than 0.2 s" in str(await refused(third))
    await crowd.finish(2)
    await asyncio.gather(first, second)


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    crowd = Crowd(FairQueue(1, 5, 60))
    first, second = await crowd.send(caller("a")), await crowd.send(caller("b"))
    second.cancel()
    await settle()
    assert (crowd.gate.running, crowd.gate.waiting) == (1, 0)
    await crowd.finish(1)
    await first


async def test_a_place_given_to_one_who_was_cancelled_in_that_moment_is_not_lost() -> None:
    for cancel_first in (True, False):
        crowd = Crowd(FairQueue(1, 5, 60))
        first, second = await crowd.send(caller("a")), await crowd.send(caller("b"))
        third = await crowd.send(caller("c"))
        for act in (second.cancel, first.cancel) if cancel_first else (first.cancel, second.cancel):
            act()
        await settle()
        assert crowd.at_work["c"] == 1
        await crowd.finish(1)
        await third
        assert (crowd.gate.running, crowd.gate.waiting) == (0, 0)


async def test_a_closed_gate_lets_finish_who_is_in_and_nobody_else() -> None:
    crowd = Crowd(FairQueue(1, 5, 60))
    first, second = await crowd.send(caller("a")), await crowd.send(caller("a"))
    crowd.gate.close()
    third = await crowd.send(caller("b"))
    for task in (second, third):
        with pytest.raises(ShuttingDown):
            await task
    idle = asyncio.ensure_future(crowd.gate.idle())
    await settle()
    assert not idle.done()
    await crowd.finish(1)
    await asyncio.gather(first, idle)


async def test_no_order_of_events_loses_a_place_or_gives_one_too_many() -> None:
    draw = random.Random(7)
    for _ in range(30):
        gate, tasks = FairQueue(3, 10, 60), []
        crowd = Crowd(gate)
        callers = [caller("a"), caller("b", most=1), caller("c", most=2)]
        for _ in range(80):
            match draw.randrange(3):
                case 0:
                    tasks.append(asyncio.ensure_future(crowd.run(draw.choice(callers))))
                case 1:
                    crowd.end.release()
                case 2 if tasks:
                    draw.choice(tasks).cancel()
            for _ in range(draw.randrange(3)):
                await asyncio.sleep(0)
            assert crowd.at_work.total() <= 3
            assert crowd.at_work["b"] <= 1
            assert crowd.at_work["c"] <= 2
        for _ in tasks:
            crowd.end.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in results} <= {type(None), Busy, asyncio.CancelledError}
        assert (gate.running, gate.waiting) == (0, 0)
        await gate.idle()
