"""`auto` against `self_consistency`: what equal accuracy costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from time import perf_counter

from agents.demo.questions import DemoQuestion
from tests.bench.engine.claim import Claim
from tests.bench.engine.gateway import Gateway, ask
from tests.vllm.server import Server
from tests.vllm.service import asking

STRATEGIES = ("auto", "self_consistency")
_EQUAL = 0.02  # accuracy that `auto` may lose and still be called equal


@dataclass
class Spending:
    """One strategy, question by question."""

    right: list[bool] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


async def measure(server: Server, folder: Path, questions: Sequence[tuple[Path, DemoQuestion]]) -> list[Claim]:
    """Every question in both ways, in turn, each with a service of its own that knows no frames of the other."""
    spending = {name: Spending() for name in STRATEGIES}
    gateways = {name: Gateway(f"openai:{server.root}/v1", questions[0][0].parent, folder) for name in STRATEGIES}
    try:
        for gateway in gateways.values():
            gateway.start()
            await asyncio.to_thread(gateway.wait)
        for video, question in questions:
            for name, gateway in gateways.items():
                await _ask(spending[name], gateway, video, question, name)
    finally:
        for gateway in gateways.values():
            gateway.stop()
    auto, vote = (spending[name] for name in STRATEGIES)
    return [
        *(Claim(f"{name} is right", mean(spent.right)) for name, spent in spending.items()),
        Claim("accuracy of auto above self_consistency's", mean(auto.right) - mean(vote.right), "", -_EQUAL),
        *(Claim(f"{name} spends", mean(spent.tokens), " tokens") for name, spent in spending.items()),
        Claim("fewer tokens", mean(vote.tokens) / mean(auto.tokens), "×", 1),
        *(Claim(f"{name} takes", mean(spent.seconds), " s") for name, spent in spending.items()),
        Claim("less wall time", mean(vote.seconds) / mean(auto.seconds), "×", 1),
    ]


async def _ask(spent: Spending, gateway: Gateway, video_path: Path, question: DemoQuestion, name: str) -> None:
    async with gateway.client() as client:
        began = perf_counter()
        answer = await ask(client, asking(video_path, question, name))
        spent.seconds.append(perf_counter() - began)
    report = answer["report"]
    spent.tokens.append(report["prompt_tokens"] + report["completion_tokens"])
    spent.right.append(answer["answer"] == question.answer)
