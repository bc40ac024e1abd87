"""What users of LangChain do."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tests.clients.inside.scene import Question, Scene

DIRECT = {"secondlook": {"strategy": {"name": "direct", "frames": 16}}}


def chat(scene: Scene, strategy: str = "", **fields: Any) -> ChatOpenAI:
    return ChatOpenAI(base_url=scene.base, api_key=scene.key, model=scene.model + strategy, **fields)


def said(messages: list[dict[str, Any]]) -> list[HumanMessage]:
    return [HumanMessage(content=message["content"]) for message in messages]


def test_video_and_frames(scene: Scene, question: Question) -> None:
    model = chat(scene, seed=0, extra_body=DIRECT)
    assert model.invoke(said(question.pictured())).content == question.pictured_letter
    reply = model.invoke(said(question.filmed()))
    assert reply.content == question.letter
    assert reply.usage_metadata["total_tokens"] > 0
    assert reply.response_metadata["finish_reason"] == "stop"


def test_several_at_once(scene: Scene) -> None:
    model = chat(scene, seed=0, extra_body=DIRECT)
    replies = asyncio.run(model.abatch([said(question.filmed(question.url)) for question in scene.questions]))
    assert [reply.content for reply in replies] == [question.letter for question in scene.questions]


def test_stream(scene: Scene, question: Question) -> None:
    chunks = list(chat(scene, ":chain_of_thought", stream_usage=True).stream(said(question.filmed())))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert whole.content.strip() in tuple("ABCD")
    assert whole.usage_metadata["total_tokens"] > 0
    assert whole.response_metadata["finish_reason"] == "stop"


def test_structured(scene: Scene, question: Question) -> None:
    class Seen(BaseModel):
        """What was seen."""

        letter: str

    model = chat(scene, seed=0, extra_body=DIRECT).with_structured_output(Seen, method="json_schema")
    assert model.invoke(said(question.filmed())).letter == question.letter


def test_wrong_key(scene: Scene, question: Question) -> None:
    model = ChatOpenAI(base_url=scene.base, api_key="sl_nobody", model=scene.model)
    with pytest.raises(openai.AuthenticationError):
        model.invoke(said(question.filmed()))
