"""What users of its_hub do: vote over samples that they draw one by one, with our service as their model."""

from __future__ import annotations

import asyncio

from its_hub import OpenAICompatibleLanguageModel, SelfConsistency
from its_hub.api import ChatMessage

from tests.clients.inside.scene import Question, Scene

SAMPLES = 4


def model(scene: Scene, key: str | None = None) -> OpenAICompatibleLanguageModel:
    return OpenAICompatibleLanguageModel(scene.base, key or scene.key, f"{scene.model}:direct")


def messages(question: Question) -> list[ChatMessage]:
    return [ChatMessage(**message) for message in question.filmed()]


def test_vote(scene: Scene) -> None:
    async def vote() -> None:
        async with model(scene) as lm:
            for question in scene.questions:
                found = await SelfConsistency().ainfer(
                    lm, messages(question), budget=SAMPLES, return_response_only=False
                )
                texts = [response["content"] for response in found.responses]
                assert len(texts) == SAMPLES and set(texts) <= set("ABCD")
                assert found.the_one["content"] == max(texts, key=texts.count)
                assert found.usage.prompt_tokens > 0 and found.usage.completion_tokens > 0

    asyncio.run(vote())
