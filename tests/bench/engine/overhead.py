"""What the service adds to a call: the same call through it and, with the very bytes that it sends, straight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx

from tests.bench.engine.claim import Claim
from tests.bench.engine.forwarder import Forwarder
from tests.bench.engine.gateway import Gateway, ask
from tests.bench.engine.recorder import recording
from tests.vllm.server import Server

ALONE = 300  # calls each way, one at a time
CROWD = 16  # callers at once
ROUNDS = 4  # each way, in turn
SLOW_ROUNDS = 2
A_ROUND = 96  # calls
STRATEGY = {"name": "chain_of_thought", "frames": 32, "max_tokens": 64}
_COMPLETIONS = "/v1/chat/completions"
_JSON = {"content-type": "application/json"}

Call = Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Pair:
    """One question as JSON: as asked of the service, and as the service asks the server."""

    question: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Ways:
    """To ask by number: through the service, straight, and through something that only forwards."""

    through: Call
    directly: Call
    forwarded: Call
    gateway: Gateway


async def measure(server: Server, videos: Path, folder: Path, questions: Sequence[dict[str, Any]]) -> list[Claim]:
    """Claims about one call at a time, and about many at once."""
    async with _ways(server, videos, folder, questions) as ways:
        return [*await _alone(ways), *await _crowded(ways, ROUNDS)]


async def measure_slow(
    server: Server, videos: Path, folder: Path, questions: Sequence[dict[str, Any]], size: int
) -> list[Claim]:
    """Claims about many calls at once to a model that needs most of the processor itself, as real ones do of theirs.

    `size` is the number of its parameters.
    """
    async with _ways(server, videos, folder, questions) as ways:
        return await _crowded(ways, SLOW_ROUNDS, f", on {size / 1e6:.0f} million parameters")


@asynccontextmanager
async def _ways(server: Server, videos: Path, folder: Path, questions: Sequence[dict[str, Any]]) -> AsyncIterator[Ways]:
    """All ways to ask the server; what can be kept is kept already."""
    pairs = await _recorded(server, videos, folder, questions)
    gateway, forwarder = Gateway(f"openai:{server.root}/v1", videos, folder), Forwarder(server.root, folder)
    gateway.start()
    forwarder.start()
    try:
        await asyncio.to_thread(gateway.wait)
        await asyncio.to_thread(forwarder.wait)
        async with gateway.client() as ours, _client(server.root) as straight, _client(forwarder.root) as forwarding:

            async def through(number: int) -> None:
                answer = await _post(ours, "/v1/answers", pairs[number % len(pairs)].question)
                if answer["report"]["stopped"] == "engine":
                    raise RuntimeError(f"the model failed: {answer['report']['degraded']}")

            async def directly(number: int) -> None:
                await _post(straight, _COMPLETIONS, pairs[number % len(pairs)].body)

            async def forwarded(number: int) -> None:
                await _post(forwarding, _COMPLETIONS, pairs[number % len(pairs)].body)

            ways = Ways(through, directly, forwarded, gateway)
            for number in range(len(pairs)):
                for way in (through, directly, forwarded):
                    await way(number)
            yield ways
    finally:
        gateway.stop()
        forwarder.stop()


def _client(root: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=root, timeout=600)


async def _post(client: httpx.AsyncClient, path: str, body: bytes) -> Any:
    """Ask, and read the answer: as much work for the client whichever way it goes."""
    return (await client.post(path, content=body, headers=_JSON)).raise_for_status().json()


async def _recorded(server: Server, videos: Path, folder: Path, questions: Sequence[dict[str, Any]]) -> list[Pair]:
    """Each question with what the service asks for it once the server has its frames, and the server given those."""
    async with recording(server.root) as recorder:
        gateway = Gateway(f"openai:{recorder.root}/v1", videos, folder)
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
                    pairs.append(Pair(json.dumps(question).encode(), body))
        finally:
            gateway.stop()
    return pairs


async def _alone(ways: Ways) -> list[Claim]:
    """One call at a time, each way in turn, so that all see the same noise of the machine."""
    ours, theirs, least = [], [], []
    for number in range(ALONE):
        theirs.append(await _timed(ways.directly, number))
        ours.append(await _timed(ways.through, number))
        least.append(await _timed(ways.forwarded, number))
    added = sorted(mine - plain for mine, plain in zip(ours, theirs, strict=True))
    bare = median(mine - plain for mine, plain in zip(least, theirs, strict=True))
    return [
        Claim("straight to vLLM, one at a time, p50", 1000 * median(theirs), " ms"),
        Claim("through the service, p50", 1000 * median(ours), " ms"),
        Claim("added, p50", 1000 * median(added), " ms", 5, "most"),
        Claim("added, p90", 1000 * added[len(added) * 9 // 10], " ms"),
        Claim("added by FastAPI and aiohttp alone, p50", 1000 * bare, " ms"),
    ]


async def _crowded(ways: Ways, rounds: int, where: str = "") -> list[Claim]:
    rates: dict[str, list[float]] = {"straight": [], "service": []}
    busy = 0.0
    for _ in range(rounds):
        rates["straight"].append(await _rate(ways.directly))
        before = ways.gateway.processor_seconds
        rates["service"].append(await _rate(ways.through))
        busy += ways.gateway.processor_seconds - before
    ratios = [mine / plain for mine, plain in zip(rates["service"], rates["straight"], strict=True)]
    return [
        Claim(f"straight, {CROWD} at a time{where}", median(rates["straight"]), " calls/s"),
        Claim(f"through the service, {CROWD} at a time{where}", median(rates["service"]), " calls/s"),
        Claim(f"throughput of the service, as a share of straight{where}", median(ratios), "×", 0.95),
        Claim(f"processor time of the service for a call{where}", 1000 * busy / (rounds * A_ROUND), " ms"),
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
