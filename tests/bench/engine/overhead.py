"""What the service adds to a call: the same call through it and, with the very bytes that it sends, straight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx

from tests.bench.engine.claim import Claim
from tests.bench.engine.gateway import Gateway, ask
from tests.bench.engine.recorder import recording
from tests.vllm.server import Server

ALONE = 100  # calls each way, one at a time
CROWD = 16  # callers at once
ROUNDS = 4  # each way, in turn
A_ROUND = 96  # calls
STRATEGY = {"name": "chain_of_thought", "frames": 32, "max_tokens": 64}

Call = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Pair:
    """One question, as asked of the service and as the service asks the server."""

    question: dict[str, Any]
    body: bytes


async def measure(server: Server, films: Path, folder: Path, questions: Sequence[dict[str, Any]]) -> list[Claim]:
    """Claims about the overhead."""
    pairs = await _recorded(server, films, folder, questions)
    gateway = Gateway(f"openai:{server.root}/v1", films, folder)
    gateway.start()
    try:
        await asyncio.to_thread(gateway.wait)
        async with gateway.client() as ours, httpx.AsyncClient(base_url=server.url, timeout=600) as straight:

            async def through(number: int) -> None:
                await ask(ours, pairs[number % len(pairs)].question)

            async def directly(number: int) -> None:
                body = pairs[number % len(pairs)].body
                (await straight.post("/chat/completions", content=body, headers=_JSON)).raise_for_status()

            for number in range(len(pairs)):  # what is decoded, read and kept once is so before the clock starts
                await through(number)
                await directly(number)
            return [*await _alone(through, directly), *await _crowded(through, directly, gateway)]
    finally:
        gateway.stop()


_JSON = {"content-type": "application/json"}


async def _recorded(server: Server, films: Path, folder: Path, questions: Sequence[dict[str, Any]]) -> list[Pair]:
    """Each question with what the service asks for it once the server has its frames, and the server given those."""
    async with recording(server.root) as recorder:
        gateway = Gateway(f"openai:{recorder.root}/v1", films, folder)
        gateway.start()
        try:
            await asyncio.to_thread(gateway.wait)
            async with gateway.client() as client:
                for question in questions:
                    await ask(client, question)
                pairs = []
                for question in questions:
                    recorder.bodies.clear()
                    await ask(client, question)
                    (body,) = recorder.bodies
                    pairs.append(Pair(question, body))
        finally:
            gateway.stop()
    return pairs


async def _alone(through: Call, directly: Call) -> list[Claim]:
    """One call at a time, the two ways in turn, so that both see the same noise of the machine."""
    ours, theirs = [], []
    for number in range(ALONE):
        theirs.append(await _timed(directly, number))
        ours.append(await _timed(through, number))
    added = sorted(mine - plain for mine, plain in zip(ours, theirs, strict=True))
    return [
        Claim("straight to vLLM, one at a time, p50", 1000 * median(theirs), " ms"),
        Claim("through the service, p50", 1000 * median(ours), " ms"),
        Claim("added, p50", 1000 * median(added), " ms", 5, "most"),
        Claim("added, p90", 1000 * added[len(added) * 9 // 10], " ms"),
    ]


async def _crowded(through: Call, directly: Call, gateway: Gateway) -> list[Claim]:
    rates: dict[str, list[float]] = {"straight": [], "service": []}
    busy = 0.0
    for _ in range(ROUNDS):
        rates["straight"].append(await _rate(directly))
        before = gateway.processor_seconds
        rates["service"].append(await _rate(through))
        busy += gateway.processor_seconds - before
    ratios = [mine / plain for mine, plain in zip(rates["service"], rates["straight"], strict=True)]
    return [
        Claim(f"straight, {CROWD} at a time", median(rates["straight"]), " calls/s"),
        Claim(f"through the service, {CROWD} at a time", median(rates["service"]), " calls/s"),
        Claim("throughput of the service, as a share of straight", median(ratios), "×", 0.95),
        Claim("processor time of the service for a call", 1000 * busy / (ROUNDS * A_ROUND), " ms"),
    ]


async def _timed(call: Call, number: int) -> float:
    began = perf_counter()
    await call(number)
    return perf_counter() - began


async def _rate(call: Call) -> float:
    """Calls a second with so many callers, each of whom asks again as soon as it is answered."""
    numbers = iter(range(A_ROUND))

    async def caller() -> None:
        for number in numbers:
            await call(number)

    began = perf_counter()
    await asyncio.gather(*(caller() for _ in range(CROWD)))
    return A_ROUND / (perf_counter() - began)
