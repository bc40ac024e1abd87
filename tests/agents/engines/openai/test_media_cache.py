"""A model behind vLLM: what it holds already is named, not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agents.core.model_client import compose_prompt
from agents.engines.base import EngineError, Prompt, Sampling
from agents.engines.openai.engine import OpenAIEngine
from agents.engines.openai.media import CacheSecret, MediaCache
from tests.agents.engines.asking import engine_of
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import picture, strip, words
from tests.agents.engines.stub import Answer, CachingServer, Json, Stub, is_probe, talkative

Act = Callable[[OpenAIEngine], Awaitable[None]]


def play(stub: Stub, act: Act, **options: str) -> None:
    async def whole() -> None:
        engine = engine_of(stub, **options)
        try:
            await engine.probe()
            await act(engine)
        finally:
            await engine.close()

    asyncio.run(whole())


async def ask(engine: OpenAIEngine, prompt: Prompt) -> str:
    return (await engine.generate(prompt, Sampling(), 1)).replies[0].text


def test_bytes_are_sent_the_first_time_and_names_after(serve: Serve) -> None:
    caching = CachingServer()
    stub = serve(caching)

    async def act(engine: OpenAIEngine) -> None:
        await ask(engine, strip(3, "One?"))
        await ask(engine, strip(3, "Two?"))
        await ask(engine, compose_prompt([picture(9), picture(1), picture(8)], "New and old?"))

    play(stub, act)
    first, second, third = stub.asked
    assert [len(each) for each in caching.brought] == [3, 0, 2] and [len(each) for each in caching.named] == [0, 3, 1]
    assert len(str(second)) < len(str(first)) / 5
    assert caching.refused == 0 and caching.named[2] == [caching.brought[0][1]]
    assert [part["type"] for part in third["messages"][0]["content"]] == ["text", "image_url"] * 3 + ["text"]


def test_what_was_lost_is_sent_again_once(serve: Serve) -> None:
    caching = CachingServer()

    async def act(engine: OpenAIEngine) -> None:
        await ask(engine, strip(3, "?"))
        caching.kept.clear()  # the server was restarted, or needed the room
        assert await ask(engine, strip(4, "?")) == "same"
        await ask(engine, strip(4, "?"))

    play(serve(caching), act)
    assert [len(each) for each in caching.brought] == [3, 1, 4, 0]
    assert caching.refused == 1


def test_a_server_that_is_at_odds_with_itself_is_sent_everything_once_more(serve: Serve) -> None:
    """vLLM says no more than this when the half that reads has not got what the half that listens has."""
    caching = CachingServer()
    broken: list[Answer] = []

    def answer(body: Json) -> Answer:
        found = caching(body)
        return broken.pop() if broken and not is_probe(body) else found

    stub = serve(answer)

    async def act(engine: OpenAIEngine) -> None:
        await ask(engine, strip(2, "?"))
        broken.append(Answer({"error": {"message": "Internal server error"}}, 500))
        assert await ask(engine, strip(3, "?")) == "same"
        broken.extend([Answer({"error": {"message": "Internal server error"}}, 500)] * 2)
        with pytest.raises(EngineError, match=r"failed \(500\)"):
            await ask(engine, strip(3, "?"))
        broken.append(Answer({"error": {"message": "Internal server error"}}, 500))
        with pytest.raises(EngineError, match=r"failed \(500\)"):
            await ask(engine, words("?"))

    play(stub, act)
    assert [len(each) for each in caching.brought] == [2, 1, 3, 0, 3, 0]


def test_a_server_that_forgets_at_once_is_not_asked_for_ever(serve: Serve) -> None:
    def forgetful(body: Json) -> Answer:
        if is_probe(body):
            return talkative(body)
        return Answer({"error": {"message": "Cache miss for image at index 0"}}, 400)

    stub = serve(forgetful)

    async def act(engine: OpenAIEngine) -> None:
        with pytest.raises(EngineError, match="refused"):
            await ask(engine, strip(1, "?"))

    play(stub, act)
    assert len(stub.asked) == 1  # nothing was left out, so there is nothing to send again


def test_two_that_bring_the_same_frames_at_once_are_both_answered(serve: Serve) -> None:
    caching = CachingServer(pause=0.2)
    stub = serve(caching)

    async def act(engine: OpenAIEngine) -> None:
        assert await asyncio.gather(*(ask(engine, strip(3, f"{name}?")) for name in "abcd")) == ["same"] * 4
        await ask(engine, strip(3, "?"))

    play(stub, act)
    assert [len(each) for each in caching.brought] == [3, 3, 3, 3, 0]
    assert caching.refused == 0


def test_tenants_find_neither_each_others_frames_nor_prompts(serve: Serve) -> None:
    caching = CachingServer()
    stub = serve(caching)

    async def act(engine: OpenAIEngine) -> None:
        for who in (engine.for_tenant("a"), engine.for_tenant("b"), engine.for_tenant("a"), engine):
            await ask(who, strip(2, "?"))

    play(stub, act)
    assert [len(each) for each in caching.brought] == [2, 2, 0, 2]
    assert len({name for names in caching.brought for name in names}) == 6
    salts = [body.get("cache_salt", "") for body in stub.asked]
    assert salts[0] == salts[2] != salts[1] and salts[3] == ""
    assert all(10 < len(salt) <= 128 and salt.isalnum() for salt in salts[:3])  # what vLLM takes


def test_names_tell_size_and_content_and_nothing_else(serve: Serve) -> None:
    caching = CachingServer()

    async def act(engine: OpenAIEngine) -> None:
        await ask(engine, compose_prompt([picture(1)], "?"))
        await ask(engine, compose_prompt([picture(1).resized(28)], "?"))
        await ask(engine, compose_prompt([picture(2)], "?"))

    play(serve(caching), act)
    names = [name for names in caching.brought for name in names]
    assert len(set(names)) == 3 and all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in names)


def test_names_are_of_this_process_alone() -> None:
    key = "film:1.0:56"
    one, other = CacheSecret(), CacheSecret()
    assert one.tenant("a").picture(key) == one.tenant("a").picture(key) == one.name("a", "image", key)
    whose = one.tenant("a"), one.tenant("b"), other.tenant("a")
    assert len({name for each in whose for name in (each.picture(key), each.clip(key))}) == 6
    assert one.tenant("a").clip("x", "y") != one.tenant("a").clip("xy")


def test_the_names_that_are_kept_have_a_limit() -> None:
    sent = MediaCache(most=3)
    sent.add("abc")
    sent.add("a")
    sent.add("d")
    assert len(sent) == 3 and sent.contained("abcd") == {"a", "c", "d"}
    sent.forget("az")
    assert sent.contained("abcd") == {"c", "d"}
    sent.clear()
    assert len(sent) == 0


def test_a_server_that_keeps_nothing_is_sent_everything(serve: Serve) -> None:
    def plain(body: Json) -> Answer:
        media = [part for part in body["messages"][-1]["content"] if isinstance(part, dict) and part["type"] != "text"]
        if any(part["image_url"]["url"] is None for part in media):
            return Answer({"error": {"message": "url: Input should be a valid string"}}, 422)
        return talkative(body)

    stub = serve(plain)

    async def act(engine: OpenAIEngine) -> None:
        assert "reuse" not in engine.capabilities
        await ask(engine, strip(2, "?"))
        await ask(engine, strip(2, "?"))

    play(stub, act)
    assert all("uuid" not in str(body) for body in stub.asked)


def test_a_server_that_ignores_what_has_no_bytes_is_found_out(serve: Serve) -> None:
    def blind(body: Json) -> Answer:
        for message in body["messages"]:
            if isinstance(message["content"], list):
                message["content"] = [part for part in message["content"] if part.get("image_url") != {"url": None}]
        return talkative(body)

    async def act(engine: OpenAIEngine) -> None:
        assert "reuse" not in engine.capabilities

    play(serve(blind), act)
