"""A model behind a server: what happens when things go wrong."""

from __future__ import annotations

import asyncio
import re
import socket
from time import perf_counter
from typing import Any

import pytest

from agents.engines.base import EngineError, Generation, Sampling
from agents.engines.openai.engine import OpenAIEngine
from tests.agents.engines.asking import after_probe, engine_of, once
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import words
from tests.agents.engines.stub import Answer, Json, reply
from tests.waiting import until


def busy_then(good: Json, times: int, status: int, headers: dict[str, str]) -> Any:
    left = [Answer({"error": {"message": "busy"}}, status, headers)] * times

    def answer(_: Json) -> Answer:
        return left.pop() if left else Answer(good)

    return answer


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(serve: Serve, status: int) -> None:
    stub = serve()
    after_probe(stub, busy_then(reply("ok"), 1, status, {"retry-after": "0.6"}))
    began = perf_counter()
    assert once(engine_of(stub), words("?"), Sampling()).replies[0].text == "ok"
    assert perf_counter() - began >= 0.6 and len(stub.asked) == 2


def test_a_server_that_wants_a_long_break_is_down(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer({"error": {"message": "come back tomorrow"}}, 429, {"retry-after": "86400"}))
    with pytest.raises(EngineError, match=r"too busy or not ready \(429\)") as caught:
        once(engine_of(stub), words("?"), Sampling())
    assert "come back tomorrow" in caught.value.detail
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    ("answer", "message", "detail"),
    [
        (Answer({"error": {"message": "too many images"}}, 400), "refused the request (400)", "too many images"),
        (Answer({"detail": "Not Found"}, 404), "refused the request (404)", "Not Found"),
        (Answer({"message": "no"}, 401), "does not accept the key (401)", ": no"),
        (Answer("out of luck", 500), "failed (500)", "out of luck"),
        (Answer("", 502), "failed (502)", "Bad Gateway"),
        (Answer("", 307, {"location": "/elsewhere"}), "failed (307)", "Temporary Redirect"),
        (Answer("{not json"), "sent something that is not JSON", "{not json"),
        (Answer({"choices": []}), "sent no chat completion: choices", "choices"),
        (Answer({"choices": [{"message": {"content": "hi"}}]}), "sent no chat completion: usage", "usage"),
        (Answer("[1]"), "sent no chat completion", ""),
    ],
)
def test_what_goes_wrong_is_said_plainly_and_not_tried_again(
    serve: Serve, caplog: pytest.LogCaptureFixture, answer: Answer, message: str, detail: str
) -> None:
    stub = serve()
    after_probe(stub, answer)
    with pytest.raises(EngineError, match=re.escape(message)) as caught:
        once(engine_of(stub), words("?"), Sampling())
    assert detail in caught.value.detail and detail in caplog.messages[-1]
    assert len(stub.asked) == 1


def test_callers_learn_neither_the_servers_address_nor_its_words(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer({"error": {"message": "no space left on /mnt/disk3"}}, 500))
    with pytest.raises(EngineError) as caught:
        once(engine_of(stub), words("?"), Sampling())
    assert str(caught.value) == "The model server failed (500)."
    assert stub.url in caught.value.detail and "/mnt/disk3" in caught.value.detail


def test_a_server_that_is_not_there_is_tried_a_few_times() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    began = perf_counter()
    with pytest.raises(EngineError, match="cannot be reached: it is down or restarting") as caught:
        once(OpenAIEngine.open(url, {"model": "m", "dialect": "openai"}), words("?"), Sampling())
    assert perf_counter() - began > 0.7
    assert url in caught.value.detail and "127.0.0.1" not in str(caught.value)


def test_a_slow_server_is_given_up_and_not_asked_twice(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer(reply("late"), pause=5))
    with pytest.raises(EngineError, match=r"did not answer within 1 s"):
        once(engine_of(stub, timeout="1"), words("?"), Sampling())
    assert len(stub.asked) == 1


def test_cancelling_hangs_up_and_the_engine_goes_on(serve: Serve) -> None:
    stub = serve()
    slow = [Answer(reply("late"), pause=30)]
    after_probe(stub, lambda _: slow.pop() if slow else Answer(reply("next")))
    engine = engine_of(stub)

    async def act() -> Generation:
        task = asyncio.create_task(engine.generate(words("?"), Sampling(), 1))
        await until(lambda: stub.asked, task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(stub.left.wait, 5)
        try:
            return await engine.generate(words("?"), Sampling(), 1)
        finally:
            await engine.close()

    assert asyncio.run(act()).replies[0].text == "next"


def test_the_key_is_sent_and_never_told(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer({"error": {"message": "no"}}, 403))
    with pytest.raises(EngineError) as caught:
        once(OpenAIEngine.open(stub.url, {}, api_key="sk-secret"), words("?"), Sampling())
    assert set(stub.keys) == {"Bearer sk-secret"} and "sk-secret" not in str(caught.value)


def test_a_server_that_lists_no_models_needs_a_name(serve: Serve) -> None:
    stub = serve()
    stub.models = {"data": []}
    with pytest.raises(EngineError, match=r"add \?model=NAME"):
        once(engine_of(stub), words("?"), Sampling())
    assert once(engine_of(stub, model="m"), words("?"), Sampling()).replies


def test_a_closed_engine_says_so(serve: Serve) -> None:
    engine = engine_of(serve())
    once(engine, words("?"), Sampling())
    with pytest.raises(EngineError, match="was closed"):
        once(engine, words("?"), Sampling())
