"""A model behind a server: what is sent, and what is understood."""

from __future__ import annotations

import asyncio
import base64

import pytest

from agents.engines.base import Message, Sampling
from tests.agents.engines.asking import after_probe, engine_of, once, probed
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import picture, strip, words
from tests.agents.engines.stub import Answer, Json, reply


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
    assert head == "data:image/png;base64" and base64.b64decode(data) == picture(1).file.data
    asked = {key: body[key] for key in ("n", "max_tokens", "temperature", "top_p", "stop", "seed", "logprobs")}
    assert asked == dict(n=1, max_tokens=9, temperature=0.0, top_p=1.0, stop=["X"], seed=4, logprobs=True)


def test_only_vllm_is_sent_what_only_vllm_knows(serve: Serve) -> None:
    stub = serve()
    sampling = Sampling(temperature=1.0, top_k=5, seed=1)
    once(engine_of(stub), words("?"), sampling)
    once(engine_of(stub, dialect="openai"), words("?"), sampling)
    once(engine_of(stub, dialect="vllm"), words("?"), Sampling(temperature=1.0))
    plain = serve(owner="somebody")
    once(engine_of(plain), words("?"), sampling)
    assert [body.get("top_k") for body in stub.asked] == [5, None, None] and len(plain.asked) == 1
    assert all("uuid" not in str(body) and "chat_template" not in str(body) for body in plain.bodies)


def test_the_probe_finds_name_offers_and_the_price_of_a_frame(serve: Serve) -> None:
    stub = serve()
    engine = engine_of(stub, side="64")
    assert engine.capabilities == frozenset()
    probed(engine)
    assert (engine.model, engine.side, engine.frame_tokens(64)) == ("stub-vl", 64, 60)
    assert engine.capabilities == {"logprobs", "choices", "schema", "tools", "beam", "reuse", "stream"}
    assert stub.bodies[0]["structured_outputs"]["choice"] == ["A", " A", "B", " B"]
    assert len(stub.bodies) == 10 and all(body["max_tokens"] <= 8 for body in stub.bodies)


def test_the_probe_is_made_once_however_many_ask_at_once(serve: Serve) -> None:
    stub = serve()
    engine = engine_of(stub)

    async def act() -> None:
        await asyncio.gather(*(engine.generate(words("?"), Sampling(), 1) for _ in range(5)))
        await engine.close()

    asyncio.run(act())
    assert len(stub.asked) == 5 and len(stub.bodies) == 10 + 5


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
        assert not engine.capabilities & {"logprobs", "choices"}
        assert once(engine_of(stub), words("?"), Sampling()).replies[0].tokens == ()
        assert "logprobs" not in stub.bodies[-1]


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
