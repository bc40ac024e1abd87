"""Rounds of 8, 16 and 32 frames: what is sent, read and kept, with new frames among the old ones or after them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any, Literal

import httpx

from agents.demo.questions import DemoQuestion
from tests.bench.engine.claim import Claim
from tests.bench.engine.gateway import Gateway, ask
from tests.vllm.server import Server
from tests.vllm.service import asking
from tests.vllm.spent import Spent, measured

Order = Literal["time", "arrival"]
ORDERS: tuple[Order, ...] = ("time", "arrival")
_WORDS = {"time": "among the old", "arrival": "after the old"}
_ROUNDS = (8, 16, 32)
_OLD = sum(_ROUNDS[:-1])  # frames that are shown again


@dataclass
class RoundResults:
    """What happened with one order of frames, question by question."""

    right: list[bool] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)

    @property
    def whole(self) -> list[int]:
        """The places of runs that asked all rounds."""
        return [place for place, rounds in enumerate(self.rounds) if rounds == len(_ROUNDS)]


async def measure(server: Server, folder: Path, questions: Sequence[tuple[Path, DemoQuestion]]) -> list[Claim]:
    """What is sent and read: one question a video, so hot that its samples disagree in all rounds. And the answers to
    all questions at the usual temperature.
    """
    fresh = list({video: (video, question) for video, question in questions}.values())
    hot: dict[Order, RoundResults] = {}
    usual: dict[Order, RoundResults] = {}
    for order in ORDERS:  # each with a service of its own, so that the server knows none of its frames
        gateway = Gateway(f"openai:{server.root}/v1", questions[0][0].parent, folder)
        gateway.start()
        try:
            await asyncio.to_thread(gateway.wait)
            async with gateway.client() as client:
                hot[order] = await _measure_order(server, client, fresh, order=order, temperature=2.0)
                usual[order] = await _measure_order(server, client, questions, order=order)
        finally:
            gateway.stop()
    return [*_reuse(hot["time"]), *_costs(hot), *_answers(usual)]


async def _measure_order(
    server: Server, client: httpx.AsyncClient, questions: Sequence[tuple[Path, DemoQuestion]], **parameters: Any
) -> RoundResults:
    found = RoundResults()
    strategy = {"name": "sparse_to_dense", "start": _ROUNDS[0], "limit": _ROUNDS[-1], "max_tokens": 64, **parameters}
    for video, question in questions:
        began = perf_counter()
        with measured(server) as spent:
            answer = await ask(client, asking(video, question, strategy))
        found.seconds.append(perf_counter() - began)
        found.spent.append(spent)
        found.rounds.append(answer["report"]["rounds"])
        found.right.append(answer["answer"] == question.answer)
    return found


def _reuse(found: RoundResults) -> list[Claim]:
    runs = [found.spent[place] for place in found.whole]
    return [
        Claim("questions whose samples disagreed three times", len(runs), "", 1),
        Claim("frames sent for 8 + 16 + 32 shown, most", max(s.pictures - s.known for s in runs), "", 32, "most"),
        Claim("old frames found in the server's cache, fewest", min(s.known for s in runs), "", _OLD),
        Claim("bytes received for such a question", mean(s.bytes_received for s in runs) / 1024, " KiB"),
    ]


def _costs(results: dict[Order, RoundResults]) -> list[Claim]:
    claims = []
    for order, found in results.items():
        runs = found.whole
        tokens = mean(found.spent[place].prefilled for place in runs)
        claims.append(Claim(f"prefilled, new frames {_WORDS[order]}", tokens, " tokens"))
        claims.append(Claim(f"wall time, new frames {_WORDS[order]}", mean(found.seconds[p] for p in runs), " s"))
    return claims


def _answers(results: dict[Order, RoundResults]) -> list[Claim]:
    return [Claim(f"right, new frames {_WORDS[order]}", mean(found.right)) for order, found in results.items()]
