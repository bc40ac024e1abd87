"""A model behind a server: how much it reads, and what is learned when that was too much."""

from __future__ import annotations

import asyncio

import pytest

from agents.core.context_fit import fit_prompt
from agents.engines.base import Generation, Prompt, PromptTooLong, Sampling, pictures_of, prompt_token_bound
from agents.engines.openai.client import PromptExcess, is_cache_miss, parse_excess
from agents.engines.openai.engine import OpenAIEngine
from tests.agents.engines.asking import after_probe, engine_of, probed
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import strip, words
from tests.agents.engines.stub import Answer, Stub, models, reply

VLLM = (
    "This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input tokens, "
    "which exceeds this limit even without any output tokens."
)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (VLLM, PromptExcess(2048, 2049)),
        ("Input length (9000) exceeds model's maximum context length (8192).", PromptExcess(8192, 9000)),
        (
            "This model's maximum context length is 2048 tokens. However, your prompt contains 30155 characters (more "
            "than 26624 characters, which is the upper bound for 2048 input tokens).",
            PromptExcess(2048, None),
        ),
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens (8001 in the "
            "messages, 1000 in the completion).",
            PromptExcess(8192, 9001),
        ),
        ("context_length_exceeded", PromptExcess(None, None)),
        ("the request exceeds the available context size (4096 tokens)", PromptExcess(4096, None)),
        ("prompt is too long: 210000 tokens > 200000 maximum", PromptExcess(None, None)),
        ("At most 64 image(s) may be provided in one prompt.", PromptExcess(pictures=64)),
        ("max_tokens must be at least 1, got 0.", None),
    ],
)
def test_a_refusal_tells_how_much_is_too_much(message: str, found: PromptExcess | None) -> None:
    assert parse_excess(message) == found


def test_a_refusal_tells_what_the_server_has_lost() -> None:
    assert is_cache_miss("Cache miss for image at index 3 but data is not provided.")
    assert is_cache_miss("multimodal_cache_miss: please retry")
    assert not is_cache_miss(VLLM)


def ask_for_too_much(stub: Stub, message: str, prompt: Prompt, **options: str) -> OpenAIEngine:
    after_probe(stub, Answer({"error": {"message": message}}, 400))

    async def act() -> OpenAIEngine:
        engine = engine_of(stub, **options)
        with pytest.raises(PromptTooLong):
            await engine.generate(prompt, Sampling(), 1)
        await engine.close()
        return engine

    return asyncio.run(act())


def test_the_context_comes_from_the_server(serve: Serve) -> None:
    stub = serve()
    stub.models = models(max_model_len=4096)
    engine = engine_of(stub)
    assert engine.context is None
    assert probed(engine).context == 4096


def test_a_context_that_was_not_known_is_learned_from_a_refusal(serve: Serve) -> None:
    engine = ask_for_too_much(serve(), VLLM, words("long " * 100))
    assert engine.context == 2048


def test_a_context_that_was_thought_larger_is_corrected_and_never_enlarged(serve: Serve) -> None:
    assert ask_for_too_much(serve(), VLLM, words("?"), context="4000").context == 2048
    assert ask_for_too_much(serve(), VLLM, words("?"), context="1000").context == 1000
    assert ask_for_too_much(serve(), "context_length_exceeded", words("?"), context="1000").context == 1000
    assert ask_for_too_much(serve(), "context_length_exceeded", words("?")).context is None


def test_pictures_that_cost_more_than_was_thought_are_dearer_from_then_on(serve: Serve) -> None:
    prompt = strip(8, "?")
    engine = ask_for_too_much(serve(), VLLM.replace("at least 2049", "5000"), prompt)
    assert 5000 <= prompt_token_bound(engine, prompt) < 5100
    assert ask_for_too_much(serve(), VLLM.replace("2049", "5000"), words("?")).picture_tokens(prompt) < 1000


def test_too_long_says_how_long_it_may_be(serve: Serve) -> None:
    stub = serve()
    after_probe(stub, Answer({"error": {"message": VLLM}}, 400))

    async def act() -> None:
        engine = engine_of(stub)
        with pytest.raises(PromptTooLong, match="longer than the 2048 tokens that stub-vl reads"):
            await engine.generate(words("?"), Sampling(), 1)
        with pytest.raises(PromptTooLong):
            await engine.generate(words("?"), Sampling(choices=("A", "B")), 1)
        await engine.close()

    asyncio.run(act())
    assert len(stub.asked) == 2


def count(stub: Stub, text: str) -> int:
    async def act() -> int:
        engine = engine_of(stub)
        try:
            return await engine.count(text)
        finally:
            await engine.close()

    return asyncio.run(act())


def test_vllm_counts_tokens_and_for_others_a_byte_is_one(serve: Serve) -> None:
    assert count(serve(), "two words") == 2
    assert count(serve(owner="somebody"), "two wörds") == 10


@pytest.mark.parametrize("answer", [Answer({"detail": "Not Found"}, 404), Answer({"tokens": 3}), Answer("[]")])
def test_a_server_that_cannot_count_is_not_believed(serve: Serve, answer: Answer) -> None:
    stub = serve()
    stub.counting = answer
    assert count(stub, "two words") == 9


def test_a_server_that_forbids_counting_is_still_asked_the_rest(serve: Serve) -> None:
    stub = serve()
    stub.counting = Answer({"error": "no"}, 404)
    after_probe(stub, Answer(reply("fine")))

    async def act() -> Generation:
        engine = engine_of(stub)
        try:
            return await engine.generate(strip(2, "?"), Sampling(), 1)
        finally:
            await engine.close()

    assert asyncio.run(act()).replies[0].text == "fine"


def test_how_many_pictures_are_too_many_is_learned_from_a_refusal(serve: Serve) -> None:
    message = "At most 4 image(s) may be provided in one prompt. Set `--limit-mm-per-prompt` to increase this limit."
    engine = ask_for_too_much(serve(), message, strip(8, "?"))
    assert engine.max_pictures == 4 and engine.context is None
    fitted = asyncio.run(fit_prompt(engine, strip(8, "?"), Sampling()))
    assert len(pictures_of(fitted.prompt)) == 4
    assert fitted.degraded == ("model: shown 4 of 8 frames",)
