"""Streamed replies: assembled from chunks as if sent whole, passed on meanwhile, and never requested twice."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from agents.engines.base import EngineError, Generation, Sampling
from agents.engines.openai.engine import OpenAIEngine
from tests.agents.engines.asking import after_probe, engine_of, probed
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import strip, words
from tests.agents.engines.stub import Answer, Json, Stub, reply, streamed, talkative
from tests.waiting import until

FREE = Sampling(max_tokens=99)
SAID = "A red star comes first."


def collect(engine: OpenAIEngine, sampling: Sampling = FREE, *, frames: int = 0) -> tuple[Generation, list[str]]:
    pieces: list[str] = []

    async def act() -> Generation:
        try:
            return await engine.generate(strip(frames, "?") if frames else words("?"), sampling, 1, pieces.append)
        finally:
            await engine.close()

    return asyncio.run(act()), pieces


def saying(stub: Stub, **message: Any) -> None:
    data = reply(str(message.get("content") or ""), cached=3)
    data["choices"][0]["message"] |= message
    after_probe(stub, Answer(data))


def test_words_are_told_one_by_one_and_the_bill_comes_at_the_end(serve: Serve) -> None:
    stub = serve()
    saying(stub, content=SAID)
    found, pieces = collect(engine_of(stub))
    assert pieces == ["A ", "red ", "star ", "comes ", "first."]
    assert found.replies[0].text == SAID
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == (7, 1, 3)
    assert found.replies[0].tokens[0].logprob == -0.1
    asked = stub.asked[-1]
    assert (asked["stream"], asked["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize("thought", ["hm, red", ""])
def test_a_thought_is_told_as_the_reply_has_it(serve: Serve, thought: str) -> None:
    stub = serve()
    saying(stub, content="red", reasoning=thought or None)
    found, pieces = collect(engine_of(stub))
    assert "".join(pieces) == found.replies[0].text == (f"<think>{thought}</think>red" if thought else "red")


def test_a_thought_whose_beginning_is_not_marked_is_told_once_its_end_is(serve: Serve) -> None:
    stub = serve()
    saying(stub, content="hm, red</think>red it is")
    found, pieces = collect(engine_of(stub, profile="qwen3_vl_thinking"))
    assert "".join(pieces) == found.replies[0].text == "<think>hm, red</think>red it is"
    assert pieces[0] == "<think>hm, red</think>red "


def test_what_cannot_be_told_is_not_asked_for_in_chunks(serve: Serve) -> None:
    stub = serve()
    _, pieces = collect(engine_of(stub), Sampling(max_tokens=1, choices=("A", "B")))
    assert not pieces and "stream" not in stub.asked[-1]


def test_a_server_that_sends_no_bill_with_a_stream_offers_none(serve: Serve) -> None:
    def careless(body: Json) -> Answer:
        answer = talkative({**body, "stream": False})
        if body.get("stream"):
            text = str(streamed(answer).body)
            return Answer("".join(f"{each}\n\n" for each in text.split("\n\n") if "usage" not in each and each))
        return answer

    assert "stream" not in probed(engine_of(serve(careless))).capabilities


def test_a_stream_that_breaks_off_is_an_error_and_is_not_asked_for_again(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, lambda _: replace(Answer(reply(SAID)), breaks=3))
    with pytest.raises(EngineError, match="broke the stream off"):
        collect(engine_of(stub), frames=2)
    assert len(stub.asked) == 1


def event(code: int, words: str) -> str:
    return f'data: {{"error": {{"message": "{words}", "code": {code}}}}}\n\n'


def test_an_error_in_a_stream_is_that_of_a_status_and_frames_are_sent_again_only_before_the_first_word(
    serve: Serve,
) -> None:
    first = 'data: {"choices": [{"delta": {"content": "A"}}]}\n\n'
    for begun, requests in (("", 2), (first, 1)):
        stub = serve()
        after_probe(stub, Answer(begun + event(500, "broken")))
        with pytest.raises(EngineError, match="failed \\(500\\)"):
            collect(engine_of(stub), frames=2)
        assert len(stub.asked) == requests


def test_a_line_without_an_end_is_not_read_for_ever(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer("data: " + "x" * 3_000_000))
    with pytest.raises(EngineError, match="a line of more than 2097152 bytes"):
        collect(engine_of(stub))


def test_who_no_longer_listens_hangs_up_in_mid_stream(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, lambda _: replace(Answer(reply(SAID)), pace=0.2))
    begun = threading.Event()

    async def act() -> None:
        engine = engine_of(stub)
        asking = asyncio.ensure_future(engine.generate(words("?"), FREE, 1, lambda _: begun.set()))
        await until(begun.is_set, asking)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.to_thread(stub.left.wait, 5)
        await engine.close()

    asyncio.run(act())
    assert stub.left.is_set()
