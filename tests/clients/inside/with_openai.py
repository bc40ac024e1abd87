"""What users of OpenAI's own client do: chat, stream, keep files, look at models, meet errors, try again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.clients.inside.scene import Question, Scene

DIRECT = {"secondlook": {"strategy": {"name": "direct", "frames": 16}}}


@pytest.fixture(scope="module")
def client(scene: Scene) -> OpenAI:
    return OpenAI(base_url=scene.base, api_key=scene.key)


@pytest.fixture(scope="module")
def slow(scene: Scene) -> OpenAI:
    return OpenAI(base_url=scene.slow_base, api_key=scene.slow_key)


def test_video_as_data(client: OpenAI, scene: Scene, question: Question) -> None:
    reply = client.chat.completions.create(model=scene.model, messages=question.filmed(), seed=0, extra_body=DIRECT)
    (choice,) = reply.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        question.letter,
        "stop",
    )
    assert reply.object == "chat.completion" and reply.model == scene.model and reply.id.startswith("chatcmpl-")
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    assert reply.usage.prompt_tokens_details.cached_tokens >= 0
    report = reply.model_extra["secondlook"]["report"]
    assert report["strategy"]["name"] == "direct" and report["frames_viewed"] == 16 and report["degraded"] == []
    assert reply._request_id


def test_video_at_a_url(client: OpenAI, scene: Scene) -> None:
    for question in scene.questions:
        messages = question.filmed(question.url)
        reply = client.chat.completions.create(model=scene.model, messages=messages, seed=0, extra_body=DIRECT)
        assert reply.choices[0].message.content == question.letter


def test_frames(client: OpenAI, scene: Scene, question: Question) -> None:
    messages = question.pictured()
    reply = client.chat.completions.create(model=scene.model, messages=messages, seed=0, extra_body=DIRECT)
    assert reply.choices[0].message.content == question.pictured_letter
    assert reply.model_extra["secondlook"]["report"]["frames_viewed"] == len(question.frames)


def test_strategy_by_the_name_of_the_model(client: OpenAI, scene: Scene, question: Question) -> None:
    reply = client.chat.completions.create(
        model=f"{scene.model}:self_consistency", messages=question.filmed(), n=2, max_tokens=64, temperature=0.5
    )
    assert [choice.index for choice in reply.choices] == [0, 1]
    report = reply.model_extra["secondlook"]["report"]
    assert report["strategy"]["name"] == "self_consistency" and report["strategy"]["temperature"] == 0.5
    assert reply.usage.completion_tokens_details.reasoning_tokens > 0


def test_stream(client: OpenAI, scene: Scene, question: Question) -> None:
    content, reasoning, steps, finish, usage = "", "", [], None, None
    for chunk in client.chat.completions.create(
        model=f"{scene.model}:sparse_to_dense",
        messages=question.filmed(),
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"secondlook": {"steps": True}},
    ):
        assert usage is None, "the bill comes last"
        assert chunk.object == "chat.completion.chunk"
        if not chunk.choices:
            usage = chunk.usage
            continue
        delta = chunk.choices[0].delta
        content += delta.content or ""
        reasoning += (delta.model_extra or {}).get("reasoning_content") or ""
        steps += [each["step"] for each in [(chunk.model_extra or {}).get("secondlook") or {}] if "step" in each]
        finish = chunk.choices[0].finish_reason or finish
    assert content.strip() in tuple("ABCD") and finish == "stop"
    assert reasoning and steps
    assert usage is not None and usage.total_tokens > 0


def test_words_come_as_they_are_written(client: OpenAI, scene: Scene, question: Question) -> None:
    asked: dict[str, Any] = {"model": f"{scene.model}:chain_of_thought", "messages": question.filmed(), "seed": 1}
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    pieces = [piece for delta in deltas if (piece := (delta.model_extra or {}).get("reasoning"))]
    whole = client.chat.completions.create(**asked).choices[0].message
    assert len(pieces) > 4
    assert "".join(pieces) == (whole.model_extra or {})["reasoning"]
    assert "".join(delta.content or "" for delta in deltas) == whole.content


def test_files(client: OpenAI, scene: Scene, question: Question) -> None:
    video = Path(question.video)
    kept = client.files.create(file=video, purpose="user_data")
    try:
        assert (kept.object, kept.filename, kept.bytes) == ("file", video.name, video.stat().st_size)
        assert client.files.retrieve(kept.id).id == kept.id
        assert kept.id in [each.id for each in client.files.list()]
        assert client.files.content(kept.id).read() == video.read_bytes()
        for messages in (
            question.filmed(kept.id),
            question.asked({"type": "file", "file": {"file_id": kept.id}}),
        ):
            reply = client.chat.completions.create(model=scene.model, messages=messages, seed=0, extra_body=DIRECT)
            assert reply.choices[0].message.content == question.letter
        with pytest.raises(openai.NotFoundError):
            OpenAI(base_url=scene.base, api_key=scene.other).files.retrieve(kept.id)
    finally:
        gone = client.files.delete(kept.id)
    assert gone.deleted and gone.id == kept.id
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(kept.id)


def test_pages_of_files(client: OpenAI, question: Question) -> None:
    kept = {client.files.create(file=Path(question.video), purpose="user_data").id for _ in range(3)}
    try:
        assert {each.id for each in client.files.list(limit=1)} == kept, "the client fetches all pages by itself"
    finally:
        for each in kept:
            client.files.delete(each)


def test_models(client: OpenAI, scene: Scene) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == scene.model and f"{scene.model}:auto" in names
    assert all(client.models.retrieve(name).id == name for name in names)


def test_wrong_key(scene: Scene) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        OpenAI(base_url=scene.base, api_key="sl_nobody").models.list()
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")


def test_unknown_model(client: OpenAI, question: Question) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=question.filmed())
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"n": 0}, "n"),
        ({"temperature": 9}, "temperature"),
        ({"extra_body": {"secondlook": {"strategy": "magic"}}}, "strategy"),
        ({"extra_body": {"secondlook": {"startegy": "direct"}}}, "secondlook.startegy"),
    ],
)
def test_bad_request(client: OpenAI, scene: Scene, question: Question, said: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=scene.model, messages=question.filmed(), **said)
    assert caught.value.param is not None and caught.value.param.endswith(param)
    assert caught.value.type == "invalid_request_error" and caught.value.request_id


def test_error_before_a_stream(client: OpenAI, scene: Scene, question: Question) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(
            model=scene.model, messages=question.filmed("data:video/mp4;base64,AAAA"), stream=True
        )
    assert caught.value.code == "unreadable_video"


def test_error_in_mid_stream(slow: OpenAI, scene: Scene, question: Question) -> None:
    raw = slow.chat.completions.with_raw_response.create(
        model=f"{scene.slow_model}:self_consistency", messages=question.filmed(), stream=True
    )
    run = raw.headers["x-run-id"]
    with pytest.raises(openai.APIError) as caught:
        for number, _ in enumerate(raw.parse()):
            if number == 0:
                slow.post(f"/runs/{run}/cancel", cast_to=object)
    assert caught.value.code == "run_cancelled"


def test_retries_after_a_time_out_are_one_run(slow: OpenAI, scene: Scene, question: Question) -> None:
    """The first two attempts give up while the model still thinks; the third hears the answer of the first."""
    before = _runs(slow)
    hasty = slow.with_options(timeout=0.8, max_retries=4)
    reply = hasty.chat.completions.create(
        model=f"{scene.slow_model}:direct", messages=question.filmed(), stream=False, seed=5
    )
    assert reply.choices[0].message
    assert len(_runs(slow) - before) == 1


def test_the_same_idempotency_key_is_the_same_run(client: OpenAI, scene: Scene, question: Question) -> None:
    asked: dict[str, Any] = {"model": scene.model, "messages": question.filmed(), "extra_body": DIRECT}
    headers = {"Idempotency-Key": f"order-{time.time_ns()}"}
    before = _runs(client)
    first = client.chat.completions.create(**asked, extra_headers=headers)
    second = client.chat.completions.create(**asked, extra_headers=headers)
    assert first.id == second.id and len(_runs(client) - before) == 1
    with pytest.raises(openai.ConflictError):
        client.chat.completions.create(**{**asked, "n": 2}, extra_headers=headers)


def _runs(client: OpenAI) -> set[str]:
    listed = client.get("/runs?limit=100", cast_to=object)
    found: dict[str, Any] = json.loads(listed) if isinstance(listed, str) else listed  # type: ignore[assignment]
    return {each["id"] for each in found["data"]}
