"""A model behind a server: schemas, tools, beams and thoughts, each only where it was seen to work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.core.question import Question
from agents.engines.base import EngineError, Reply, Sampling, ToolCall, ToolSpec
from agents.parsing.answers import parse_sample
from tests.agents.engines.asking import after_probe, engine_of, once, probed
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import words
from tests.agents.engines.stub import Answer, Json, Stub, models, reply, talkative

SCHEMA = {"type": "object", "properties": {"seen": {"type": "boolean"}}, "required": ["seen"]}
ZOOM = ToolSpec("zoom", "Look closer.", {"type": "object", "properties": {"second": {"type": "number"}}})


def saying(stub: Stub, **message: Any) -> None:
    """Let the stub answer with this message once the probe is over."""
    data = reply(str(message.get("content") or ""))
    data["choices"][0]["message"] |= message
    after_probe(stub, Answer(data))


def one(stub: Stub, sampling: Sampling, **options: str) -> Reply:
    return once(engine_of(stub, **options), words("?"), sampling).replies[0]


def test_a_schema_is_sent_as_openai_has_it(serve: Serve) -> None:
    stub = serve()
    one(stub, Sampling(max_tokens=99, schema=SCHEMA))
    asked = stub.asked[-1]["response_format"]
    assert asked == {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}}


def test_a_server_that_ignores_schemas_does_not_offer_them(serve: Serve) -> None:
    def ignoring(body: Json) -> Answer:
        return talkative({key: value for key, value in body.items() if key != "response_format"})

    stub = serve(ignoring, owner="somebody")
    assert "schema" not in probed(engine_of(stub)).capabilities
    with pytest.raises(EngineError, match="cannot do what was asked for: schema"):
        one(stub, Sampling(schema=SCHEMA))
    assert not stub.asked


def test_tools_are_sent_and_their_calls_are_read(serve: Serve) -> None:
    stub = serve()
    function = {"name": "zoom", "arguments": '{"second": 3.5}'}
    nameless = {"type": "function", "function": {"name": "zoom"}}
    saying(stub, content=None, tool_calls=[{"id": "x1", "type": "function", "function": function}, nameless])
    found = one(stub, Sampling(max_tokens=99, tools=(ZOOM,)))
    asked = stub.asked[-1]
    assert asked["tool_choice"] == "auto"
    (tool,) = asked["tools"]
    assert tool["type"] == "function" and tool["function"]["name"] == "zoom"
    assert tool["function"]["parameters"] == ZOOM.parameters
    assert (found.text, found.finish) == ("", "calls")
    assert found.calls == (ToolCall("x1", "zoom", '{"second": 3.5}'), ToolCall("call_1", "zoom", "{}"))


def refusing(field: str) -> Any:
    def answer(body: Json) -> Answer:
        message = f'"auto" {field} requires --enable-auto-tool-choice and --tool-call-parser to be set'
        return Answer({"error": {"message": message}}, 400) if field in body else talkative(body)

    return answer


def test_a_server_without_tools_or_whose_model_is_not_told_of_them_offers_none(serve: Serve) -> None:
    def deaf(body: Json) -> Answer:
        return talkative({key: value for key, value in body.items() if key != "tools"})

    for answer in (refusing("tools"), deaf):
        assert "tools" not in probed(engine_of(serve(answer))).capabilities


@pytest.mark.parametrize("field", ["tools", "response_format", "use_beam_search", "structured_outputs"])
def test_what_one_field_cannot_do_takes_nothing_else_away(serve: Serve, field: str) -> None:
    lost = {
        "tools": {"tools"},
        "response_format": {"schema"},
        "use_beam_search": {"beam"},
        "structured_outputs": {"choices"},
    }
    whole = {"logprobs", "choices", "schema", "tools", "beam", "reuse", "stream"}
    assert probed(engine_of(serve(refusing(field)))).capabilities == whole - lost[field]


def test_a_server_that_breaks_on_an_optional_question_does_not_offer_it(serve: Serve) -> None:
    def breaking(body: Json) -> Answer:
        return Answer("Internal Server Error", 500) if "use_beam_search" in body else talkative(body)

    assert "beam" not in probed(engine_of(serve(breaking))).capabilities


def test_a_beam_is_as_wide_as_it_is_asked_for(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer(reply("one", "two", "three")))
    sampling = Sampling(max_tokens=9, beam=True, seed=3, stop=("x",))
    generation = once(engine_of(stub), words("?"), sampling, n=3)
    assert [each.text for each in generation.replies] == ["one", "two", "three"]
    body = stub.asked[-1]
    assert body["use_beam_search"] is True and (body["n"], body["max_tokens"]) == (3, 9)
    assert not body.keys() & {"logprobs", "seed", "stop", "top_p"}
    assert len(stub.asked) == 1


def test_only_vllm_offers_beams(serve: Serve) -> None:
    assert "beam" not in probed(engine_of(serve(owner="somebody"))).capabilities


def logged(text: str, *tokens: str, **message: Any) -> Json:
    """A reply with these tokens, the log-probability of each its place."""
    data = reply(text)
    choice = data["choices"][0]
    choice["message"] |= message
    choice["logprobs"]["content"] = [{"token": token, "logprob": -float(at)} for at, token in enumerate(tokens)]
    return data


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_are_told_from_the_answer_and_tokens_still_fit(serve: Serve, field: str) -> None:
    tokens = ("<think>", "\n", "Red", " star", ".\n", "</think>", "\n\n", "Answer", ":", " B", "<|im_end|>")
    stub = serve()
    after_probe(stub, Answer(logged("Answer: B", *tokens, **{field: "Red star."})))
    found = one(stub, Sampling(max_tokens=99, think=True))
    assert found.text == "<think>Red star.</think>Answer: B"
    assert "".join(token.text for token in found.tokens) == found.text
    assert [token.logprob for token in found.tokens if token.text.strip()][-1] == -9.0
    read = parse_sample(Question(text="Which?", options=("a", "b"), kind="choice"), found)
    assert read.value == "B" and read.confidence == pytest.approx(2.718281828**-9)


def test_thoughts_that_a_template_opens_are_closed_by_the_model(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer(logged("Red star.\n</think>\n\nB", "Red", " star", ".\n", "</think>", "\n\n", "B")))
    found = one(stub, Sampling(max_tokens=99, think=True))
    assert found.text == "<think>Red star.\n</think>\n\nB"
    assert [token.text for token in found.tokens] == ["<think>Red", " star", ".\n", "</think>", "\n\n", "B"]


def test_a_thought_that_is_cut_off_is_no_answer(serve: Serve) -> None:
    data = logged("", "Red", " B", reasoning="Red B", content=None)
    data["choices"][0]["finish_reason"] = "length"
    stub = serve()
    after_probe(stub, Answer(data))
    found = one(stub, Sampling(max_tokens=2, think=True))
    assert (found.text, found.finish) == ("<think>Red B", "length")
    assert parse_sample(Question(text="Which?", options=("a", "b"), kind="choice"), found).value is None


def test_thinking_is_switched_on_where_it_is_wanted_and_off_elsewhere(serve: Serve) -> None:
    stub = serve()
    stub.models = models(name="Qwen/Qwen3.5-9B")
    for sampling in (Sampling(think=True), Sampling(), Sampling(choices=("A", "B"))):
        one(stub, sampling)
    switches = [body["chat_template_kwargs"]["enable_thinking"] for body in stub.asked]
    assert switches == [True, False, False]
    stub.models = models(name="Qwen/Qwen3-VL-8B-Instruct")
    one(stub, Sampling(think=True))
    assert "chat_template_kwargs" not in stub.asked[-1]


def test_the_profile_of_a_model_comes_from_its_name_or_the_address(serve: Serve) -> None:
    stub = serve()
    stub.models = models(name="our-model", root="google/gemma-3-4b-it", max_model_len=8192)
    gemma = probed(engine_of(stub))
    assert (gemma.model, gemma.side, gemma.min_side, gemma.context) == ("our-model", 896, 896, 8192)
    chosen = probed(engine_of(stub, profile="demo", side="64", context="1000"))
    assert (chosen.side, chosen.min_side, chosen.answer_format, chosen.context) == (64, 64, "text", 1000)
    assert probed(engine_of(stub, profile="demo", answers="letter")).answer_format == "letter"
    with pytest.raises(EngineError, match=r"no profile 'nothing'\. There are: demo"):
        probed(engine_of(stub, profile="nothing"))


def test_schemas_and_tools_do_not_reach_a_text_that_is_plain(serve: Serve) -> None:
    stub = serve()
    one(stub, Sampling())
    assert json.dumps(stub.asked[-1]).count("tool") == 0 and "response_format" not in stub.asked[-1]
