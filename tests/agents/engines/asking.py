"""Engines that ask a stub."""

from __future__ import annotations

import asyncio
from typing import Any

from agents.engines.base import Generation, Prompt, Sampling
from agents.engines.openai.engine import OpenAIEngine
from tests.agents.engines.stub import Answer, Json, Stub, is_probe, talkative


def engine_of(stub: Stub, **options: str) -> OpenAIEngine:
    return OpenAIEngine.open(stub.url, options)


def once(engine: OpenAIEngine, prompt: Prompt, sampling: Sampling, n: int = 1) -> Generation:
    async def act() -> Generation:
        try:
            return await engine.generate(prompt, sampling, n)
        finally:
            await engine.close()

    return asyncio.run(act())


def probed(engine: OpenAIEngine) -> OpenAIEngine:
    async def act() -> None:
        try:
            await engine.probe()
        finally:
            await engine.close()

    asyncio.run(act())
    return engine


def after_probe(stub: Stub, answer: Any) -> None:
    """Let the stub answer the questions of the probe well, and the rest by `answer`."""

    def answering(body: Json) -> Answer:
        found = talkative(body) if is_probe(body) else answer(body) if callable(answer) else answer
        assert isinstance(found, Answer)
        return found

    stub.answer = answering
