"""What users of litellm do, by both of its ways to a server like ours."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from tests.clients.inside.scene import Question, Scene

DIRECT = {"secondlook": {"strategy": {"name": "direct", "frames": 16}}}


@pytest.fixture(params=["openai", "hosted_vllm"])
def asking(request: pytest.FixtureRequest, scene: Scene) -> dict[str, Any]:
    """The arguments of every call, for one of the providers."""
    return {"model": f"{request.param}/{scene.model}", "api_base": scene.base, "api_key": scene.key}


def test_video(asking: dict[str, Any], scene: Scene) -> None:
    for question in scene.questions:
        for messages in (question.filmed(), question.filmed(question.url)):
            reply = litellm.completion(**asking, messages=messages, seed=0, extra_body=DIRECT)
            assert reply.choices[0].message.content == question.letter
            assert reply.choices[0].finish_reason == "stop"
            assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
            assert reply.secondlook["report"]["frames_viewed"] == 16


def test_frames(asking: dict[str, Any], question: Question) -> None:
    reply = litellm.completion(**asking, messages=question.pictured(), seed=0, extra_body=DIRECT)
    assert reply.choices[0].message.content == question.pictured_letter


def test_stream(asking: dict[str, Any], question: Question) -> None:
    thinking = {**asking, "model": f"{asking['model']}:chain_of_thought"}
    chunks = list(
        litellm.completion(**thinking, messages=question.filmed(), stream=True, stream_options={"include_usage": True})
    )
    whole = litellm.stream_chunk_builder(chunks)
    assert whole.choices[0].message.content.strip() in tuple("ABCD")
    assert whole.choices[0].message.reasoning_content
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens > 0


@pytest.mark.parametrize("streamed", [False, True])
def test_wrong_key(asking: dict[str, Any], question: Question, streamed: bool) -> None:
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**asking, "api_key": "sl_nobody"}, messages=question.filmed(), stream=streamed)


def test_unknown_model(asking: dict[str, Any], question: Question) -> None:
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**asking, "model": f"{asking['model']}:magic"}, messages=question.filmed())


def test_bad_request(asking: dict[str, Any], question: Question) -> None:
    body = {"secondlook": {"strategy": "magic"}}
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(**asking, messages=question.filmed(), extra_body=body)


def test_file_part(scene: Scene, question: Question) -> None:
    """hosted_vllm writes a file as a video_url by itself; openai/ tries to download it before sending anything."""
    part = {"type": "file", "file": {"file_data": question.data, "format": "video/mp4"}}
    reply = litellm.completion(
        model=f"hosted_vllm/{scene.model}",
        api_base=scene.base,
        api_key=scene.key,
        messages=question.asked(part),
        seed=0,
        extra_body=DIRECT,
    )
    assert reply.choices[0].message.content == question.letter
