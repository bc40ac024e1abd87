"""Models in process: one request at a time, and a way out at every token."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch

from agents.engines.base import EngineError, Generation, Sampling
from agents.engines.transformers.engine import TransformersEngine
from agents.engines.transformers.model import Checkpoint
from tests.agents.engines.reference import once, watched
from tests.agents.engines.strip import strip, words
from tests.waiting import until


def test_cancelling_stops_the_work_and_frees_the_engine(checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    endless = Sampling(temperature=3.0, max_tokens=400, seed=1)

    async def act(seen: list[tuple[int, int]]) -> Generation:
        working = asyncio.create_task(engine.generate(strip(1, "Go on."), endless, 8))
        waiting = asyncio.create_task(engine.generate(strip(1, "Never read."), endless, 8))
        await until(lambda: len(seen) >= 5, working, waiting)
        for task in (waiting, working):
            task.cancel()
        done = await asyncio.gather(working, waiting, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in done)
        before = len(seen)
        after = await engine.generate(strip(1, "Next."), Sampling(max_tokens=2), 1)
        assert len(seen) <= before + 1 + 2
        return after

    with watched(checkpoint) as seen:
        assert asyncio.run(act(seen)).completion_tokens


def test_first_come_first_served(engine: TransformersEngine) -> None:
    async def act() -> list[int]:
        order: list[int] = []

        async def ask(number: int) -> None:
            await engine.generate(words(f"Number {number}"), Sampling(max_tokens=2), 1)
            order.append(number)

        await asyncio.gather(*(ask(number) for number in range(6)))
        return order

    assert asyncio.run(act()) == list(range(6))


def test_closing_ends_what_runs_and_what_waits(checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    endless = Sampling(temperature=3.0, max_tokens=400, seed=1)

    async def act(seen: list[tuple[int, int]]) -> None:
        tasks = [asyncio.create_task(engine.generate(strip(1, "Go on."), endless, 8)) for _ in range(3)]
        await until(lambda: len(seen) >= 5, *tasks)
        await engine.close()
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(done, EngineError) and "closed" in str(done)
        with pytest.raises(EngineError, match="closed"):
            await engine.generate(words("?"), Sampling(), 1)

    with watched(checkpoint, pause=0.02) as seen:  # else a busy machine may see the end before it closes
        asyncio.run(act(seen))


def test_a_prompt_that_is_too_long_is_refused_with_numbers(engine: TransformersEngine) -> None:
    with pytest.raises(EngineError, match=r"has \d{3,} tokens; .* at most 512"):
        once(engine, words("abcdefgh" * 200), Sampling())


def test_a_failure_in_the_model_is_an_engine_error(checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error: device lost")

    hook = checkpoint.model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(EngineError, match="device lost"):
            once(engine, words("?"), Sampling())
    finally:
        hook.remove()


def test_running_out_of_memory_is_an_engine_error_with_advice(
    checkpoint: Checkpoint, engine: TransformersEngine
) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook = checkpoint.model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(EngineError, match="ran out of memory: send fewer"):
            once(engine, words("?"), Sampling())
    finally:
        hook.remove()
