"""A model behind a server: what is sent, what is understood, and what happens when things go wrong."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from math import exp
from time import perf_counter
from typing import Any

import pytest

from agents.engine import EngineError, Generation, Message, Prompt, Sampling
from agents.engines.openai import OpenAIEngine, open_at
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import picture, strip, words
from tests.agents.engines.stub import Answer, Json, Stub, reply, talkative


def engine_of(stub: Stub, **options: str) -> OpenAIEngine:
    return open_at(stub.url, options)


def once(engine: OpenAIEngine, prompt: Prompt, sampling: Sampling, n: int = 1) -> Generation:
    async def act() -> Generation:
        try:
            return await engine.generate(prompt, sampling, n)
        finally:
            await engine.close()

    return asyncio.run(act())


def probed(engine: OpenAIEngine) -> OpenAIEngine:
    async def act() -> None:
        await engine.probe()
        await engine.close()

    asyncio.run(act())
    return engine


def after_probe(stub: Stub, answer: Any) -> None:
    """Let the stub answer the two questions of the probe well, and the rest by `answer`."""

    def answering(body: Json) -> Answer:
        found = talkative(body) if len(stub.bodies) <= 2 else answer(body) if callable(answer) else answer
        assert isinstance(found, Answer)
        return found

    stub.answer = answering


def test_frames_are_sent_in_order_each_after_its_label(serve: Serve) -> None:
    stub = serve()
    prompt = (Message("system", ("Be brief.",)), *strip(2, "What?"))
    once(engine_of(stub, model="m"), prompt, Sampling(max_tokens=9, stop=("X",), seed=4), n=1)
    body = stub.bodies[-1]
    assert body["model"] == "m" and body["messages"][0] == {"role": "system", "content": "Be brief."}
    parts = body["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    assert [part["text"] for part in parts if part["type"] == "text"] == ["<0.0s>", "<1.0s>", "\nWhat?"]
    head, _, data = parts[3]["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64" and base64.b64decode(data) == picture(1).jpeg
    asked = {key: body[key] for key in ("n", "max_tokens", "temperature", "top_p", "stop", "seed", "logprobs")}
    assert asked == dict(n=1, max_tokens=9, temperature=0.0, top_p=1.0, stop=["X"], seed=4, logprobs=True)


def test_only_vllm_is_sent_what_only_vllm_knows(serve: Serve) -> None:
    stub = serve()
    sampling = Sampling(temperature=1.0, top_k=5, seed=1)
    once(engine_of(stub), words("?"), sampling)
    once(engine_of(stub, dialect="openai"), words("?"), sampling)
    once(engine_of(serve(owner="somebody")), words("?"), sampling)
    assert [body.get("top_k") for body in stub.bodies] == [None, None, 5, None, None, None]


def test_the_probe_finds_name_offers_and_the_price_of_a_frame(serve: Serve) -> None:
    stub = serve()
    engine = engine_of(stub, side="64")
    assert engine.offers == frozenset()
    probed(engine)
    assert (engine.model, engine.side, engine.tokens_per_frame) == ("stub-vl", 64, 60)
    assert engine.offers == {"logprobs", "choices"}
    assert stub.bodies[0]["structured_outputs"]["choice"] == ["A", " A", "B", " B"]
    assert len(stub.bodies) == 2


def test_the_probe_is_made_once_however_many_ask_at_once(serve: Serve) -> None:
    stub = serve()
    engine = engine_of(stub)

    async def act() -> None:
        await asyncio.gather(*(engine.generate(words("?"), Sampling(), 1) for _ in range(5)))
        await engine.close()

    asyncio.run(act())
    assert len(stub.bodies) == 2 + 5


def test_a_server_without_logprobs_is_offered_as_that(serve: Serve) -> None:
    def silent(_: Json) -> Answer:
        data = reply("A")
        data["choices"][0]["logprobs"] = None
        return Answer(data)

    def refusing(body: Json) -> Answer:
        refusal = {"error": {"message": "logprobs are not supported"}}
        return Answer(refusal, 400) if "logprobs" in body else silent(body)

    for answer in (silent, refusing):
        stub = serve(answer)
        engine = probed(engine_of(stub))
        assert engine.offers == frozenset()
        assert once(engine_of(stub), words("?"), Sampling()).replies[0].tokens == ()
        assert "logprobs" not in stub.bodies[-1]


def test_a_server_that_hides_the_other_options_offers_no_choices(serve: Serve) -> None:
    stub = serve(lambda _: Answer(reply("A", likely={"A": -0.3, "The": -1.5})), owner="somebody")
    assert probed(engine_of(stub)).offers == {"logprobs"}


def test_samples_and_their_bill(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer(reply("one", "two", prompt_tokens=40, cached=32)))
    generation = once(engine_of(stub), words("?"), Sampling(temperature=1.0), n=2)
    assert [each.text for each in generation.replies] == ["one", "two"]
    assert (generation.prompt_tokens, generation.cached_tokens, generation.completion_tokens) == (40, 32, 2)
    assert generation.replies[0].tokens[0].logprob == -0.1


def test_a_server_that_ignores_n_is_asked_again_with_other_seeds(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, lambda body: Answer(reply(f"seed {body['seed']}")))
    generation = once(engine_of(stub), words("?"), Sampling(temperature=1.0, seed=3), n=3)
    assert [each.text for each in generation.replies] == ["seed 3", "seed 4", "seed 5"]
    assert generation.prompt_tokens == 3 * 7


def test_a_greedy_reply_is_drawn_once(serve: Serve) -> None:
    stub = serve()
    generation = once(engine_of(stub), words("?"), Sampling(), n=3)
    assert [each.text for each in generation.replies] == ["same"] * 3 and generation.completion_tokens == 1
    assert stub.bodies[-1]["n"] == 1


@pytest.mark.parametrize(
    ("text", "shown", "expected"),
    [
        ("né.", ["n", "\\xc3", "\\xa9", ".", "<|im_end|>"], ["n", "", "é", "."]),  # as OpenAI shows bytes
        ("né.", ["n", "\ufffd", "\ufffd", "."], ["n", "", "é", "."]),  # as vLLM does
        ("東U\ufffd@", ["\ufffd", "\ufffd", "東", "U", "\ufffd", "@"], ["", "", "東", "U", "\ufffd", "@"]),
        ("été", ["\ufffd", "\ufffd", "t", "\ufffd", "\ufffd"], ["", "é", "t", "", "é"]),
        ("ok", ["<think>", "ok", "<|im_end|>"], ["", "ok"]),
        ("", ["<|im_end|>"], []),
    ],
)
def test_token_texts_joined_are_the_reply(serve: Serve, text: str, shown: list[str], expected: list[str]) -> None:
    data = reply(text)
    listed = [{"token": token, "logprob": -float(at)} for at, token in enumerate(shown)]
    data["choices"][0]["logprobs"]["content"] = listed
    stub = serve()
    after_probe(stub, Answer(data))
    (found,) = once(engine_of(stub), words("?"), Sampling()).replies
    assert [token.text for token in found.tokens] == expected
    assert [token.logprob for token in found.tokens] == [-float(at) for at in range(len(expected))]


def test_a_reply_that_is_cut_off_says_so(serve: Serve) -> None:
    data = reply("and then")
    data["choices"][0]["finish_reason"] = "length"
    stub = serve()
    after_probe(stub, Answer(data))
    assert once(engine_of(stub), words("?"), Sampling()).replies[0].finish == "length"


def choosing(serve: Serve, likely: dict[str, float], choices: tuple[str, ...]) -> dict[str, float] | None:
    stub = serve()
    after_probe(stub, Answer(reply("?", likely=likely)))
    generation = once(engine_of(stub), words("Which?"), Sampling(choices=choices))
    found = generation.replies[0].probabilities
    return None if found is None else {key: round(value, 4) for key, value in found.items()}


def test_spellings_of_an_option_count_together(serve: Serve) -> None:
    likely = {"A": -1.0, " A": -2.0, "B": -1.5, "The": -3.0, "a": -4.0, "x": -12.0}
    a, b = exp(-1.0) + exp(-2.0), exp(-1.5)
    assert choosing(serve, likely, ("A", "B")) == {"A": round(a / (a + b), 4), "B": round(b / (a + b), 4)}


def test_a_reply_in_another_spelling_is_the_choice(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer(reply(" 10", likely={"1": -0.1, "x": -9.0})))
    found = once(engine_of(stub), words("?"), Sampling(choices=("1", "10"))).replies[0]
    assert (found.text, found.probabilities) == ("10", None)


def test_yes_and_no_may_have_capitals_and_be_cut(serve: Serve) -> None:
    found = choosing(serve, {"Yes": -0.1, "n": -3.0, "No": -4.0, " maybe": -9.0}, ("yes", "no"))
    assert found is not None and found["yes"] == round(exp(-0.1) / (exp(-0.1) + exp(-3.0) + exp(-4.0)), 4)


def test_an_option_that_is_surely_next_to_impossible_counts_as_zero(serve: Serve) -> None:
    assert choosing(serve, {"A": -0.001, "B": -7.0, "x": -14.0}, ("A", "B", "C")) == {"A": 0.9991, "B": 0.0009, "C": 0}


@pytest.mark.parametrize(
    ("likely", "choices"),
    [
        ({"A": -1.0, "x": -1.1}, ("A", "B")),  # B may be as likely as x
        ({"The": -0.1, "x": -9.0}, ("A", "B")),
        ({"1": -0.1, "2": -3.0, "x": -12.0}, ("1", "10", "2")),  # 1 or the beginning of 10
        ({}, ("A", "B")),
    ],
)
def test_what_the_list_does_not_settle_is_unknown(serve: Serve, likely: dict[str, float], choices: Any) -> None:
    assert choosing(serve, likely, choices) is None


def test_weighing_asks_for_one_token_of_the_untouched_distribution(serve: Serve) -> None:
    stub = serve()
    generation = once(engine_of(stub), words("?"), Sampling(temperature=0.0, choices=("yes", "no"), stop=("y",)), n=3)
    body = stub.bodies[-1]
    assert (body["max_tokens"], body["temperature"], body["n"], body["top_logprobs"]) == (1, 1.0, 1, 20)
    assert body["structured_outputs"] == {"choice": ["yes", "Yes", " yes", " Yes", "no", "No", " no", " No"]}
    assert "stop" not in body
    assert [each.text for each in generation.replies] == ["yes"] * 3


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
    assert perf_counter() - began >= 0.6 and len(stub.bodies) == 2 + 2


def test_a_server_that_wants_a_long_break_is_down(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer({"error": {"message": "come back tomorrow"}}, 429, {"retry-after": "86400"}))
    with pytest.raises(EngineError, match=r"too busy or not ready \(429\): come back tomorrow"):
        once(engine_of(stub), words("?"), Sampling())
    assert len(stub.bodies) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer({"error": {"message": "too many images"}}, 400), "refused the request (400): too many images"),
        (Answer({"detail": "Not Found"}, 404), "refused the request (404): Not Found"),
        (Answer({"message": "no"}, 401), "does not accept the key (401): no"),
        (Answer("out of luck", 500), "failed (500): out of luck"),
        (Answer("", 502), "failed (502): Bad Gateway"),
        (Answer("{not json"), "not JSON"),
        (Answer({"choices": []}), "sent no chat completion: choices"),
        (Answer({"choices": [{"message": {"content": "hi"}}]}), "sent no chat completion: usage"),
        (Answer("[1]"), "sent no chat completion"),
    ],
)
def test_what_goes_wrong_is_said_plainly_and_not_tried_again(serve: Serve, answer: Answer, message: str) -> None:
    stub = serve()
    after_probe(stub, answer)
    with pytest.raises(EngineError, match=re.escape(message)):
        once(engine_of(stub), words("?"), Sampling())
    assert len(stub.bodies) == 3


def test_a_server_that_is_not_there_is_tried_a_few_times() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    began = perf_counter()
    with pytest.raises(EngineError, match=re.escape(f"nothing answers at {url}")):
        once(open_at(url, {"model": "m", "dialect": "openai"}), words("?"), Sampling())
    assert 0.7 < perf_counter() - began < 4


def test_a_slow_server_is_given_up_and_not_asked_twice(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer(reply("late"), pause=5))
    with pytest.raises(EngineError, match=r"did not answer within 0.3 s"):
        once(engine_of(stub, timeout="0.3"), words("?"), Sampling())
    assert len(stub.bodies) == 3


def test_cancelling_hangs_up_and_the_engine_goes_on(serve: Serve) -> None:
    stub = serve()
    slow = [Answer(reply("late"), pause=30)]
    after_probe(stub, lambda _: slow.pop() if slow else Answer(reply("next")))
    engine = engine_of(stub)

    async def act() -> Generation:
        task = asyncio.create_task(engine.generate(words("?"), Sampling(), 1))
        while len(stub.bodies) < 3:
            await asyncio.sleep(0.01)
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
        once(open_at(stub.url, {}, "sk-secret"), words("?"), Sampling())
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
