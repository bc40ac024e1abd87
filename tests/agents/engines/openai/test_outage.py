"""A model behind a server that goes away and comes back, as itself or as another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager

import httpx
import pytest

from agents.engines.base import EngineError, Sampling
from agents.engines.openai.engine import OpenAIEngine
from tests.agents.engines.asking import engine_of
from tests.agents.engines.conftest import Serve
from tests.agents.engines.strip import strip, words
from tests.agents.engines.stub import Answer, CachingServer, Json, Stub, StubServers, models, talkative


class Machine:
    """A machine whose server can be stopped, and started on the same port."""

    def __init__(self) -> None:
        self.servers = StubServers()
        self._serving: AbstractContextManager[StubServers] | None = None
        self.start()

    def start(self) -> None:
        port = httpx.URL(self.servers.url).port if self.servers.url else 0
        self._serving = self.servers.open(port or 0)
        self._serving.__enter__()

    def stop(self) -> None:
        if self._serving is not None:
            self._serving.__exit__(None, None, None)
            self._serving = None


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.stop()


async def _fails(engine: OpenAIEngine) -> None:
    with pytest.raises(EngineError, match="cannot be reached: it is down or restarting"):
        await engine.generate(words("?"), Sampling(), 1)


def test_the_next_question_after_a_restart_is_answered(machine: Machine) -> None:
    caching = CachingServer()
    stub = machine.servers.add(Stub(caching, models()))

    async def act() -> None:
        engine = engine_of(stub)
        await engine.generate(strip(3, "?"), Sampling(), 1)
        asked = len(stub.bodies)
        await asyncio.to_thread(machine.stop)
        caching.kept.clear()
        await _fails(engine)
        await _fails(engine)
        await asyncio.to_thread(machine.start)
        generation = await engine.generate(strip(3, "?"), Sampling(), 1)
        assert generation.replies[0].text == "same"
        assert len(stub.bodies) == asked + 1, "it is the same model: its offers are not asked for again"
        await engine.close()

    asyncio.run(act())
    assert [len(each) for each in caching.brought] == [3, 3] and caching.refused == 0


def test_another_model_on_the_same_server_is_asked_what_it_can(machine: Machine) -> None:
    stub = machine.servers.add(Stub(talkative, models()))

    async def act() -> None:
        engine = engine_of(stub)
        await engine.probe()
        before = engine.capabilities
        await asyncio.to_thread(machine.stop)
        await _fails(engine)
        stub.models = models(owner="somebody", name="another", max_model_len=900)
        await asyncio.to_thread(machine.start)
        await engine.generate(words("?"), Sampling(), 1)
        assert (engine.model, engine.context) == ("another", 900)
        assert before - engine.capabilities == {"beam", "reuse"}
        assert stub.asked[-1]["model"] == "another"
        await engine.close()

    asyncio.run(act())


def _knowing(stub: Stub) -> None:
    """Let the stub refuse models that it does not list."""

    def answer(body: Json) -> Answer:
        if body["model"] != stub.models["data"][0]["id"]:
            return Answer({"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}, 404)
        return talkative(body)

    stub.answer = answer


def test_a_model_that_was_replaced_unnoticed_is_found_out_by_its_name(serve: Serve) -> None:
    stub = serve()
    _knowing(stub)

    async def act() -> None:
        engine = engine_of(stub)
        await engine.generate(words("?"), Sampling(), 1)
        stub.models = models(name="another")
        generation = await engine.generate(words("?"), Sampling(), 1)
        assert generation.replies[0].text == "same" and engine.model == "another"
        await engine.close()

    asyncio.run(act())
    assert [body["model"] for body in stub.asked] == ["stub-vl", "stub-vl", "another"]


def test_a_model_that_was_asked_for_by_name_is_not_replaced(serve: Serve) -> None:
    stub = serve()
    _knowing(stub)

    async def act() -> None:
        engine = engine_of(stub, model="stub-vl")
        await engine.generate(words("?"), Sampling(), 1)
        stub.models = models(name="another")
        with pytest.raises(EngineError, match=r"refused the request \(404\)"):
            await engine.generate(words("?"), Sampling(), 1)
        await engine.close()

    asyncio.run(act())


def test_a_broken_connection_is_said_and_not_tried_again() -> None:
    asked: list[bytes] = []

    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/models" in head:
            body = b'{"data": [{"id": "m", "owned_by": "vllm"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        else:
            asked.append(head)
        writer.close()

    async def act() -> None:
        server = await asyncio.start_server(breaking, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        stub = Stub(talkative, models(), url=f"http://{host}:{port}/v1")
        engine = engine_of(stub)
        with pytest.raises(EngineError, match="broke the connection: it may be restarting") as caught:
            await engine.generate(words("?"), Sampling(), 1)
        assert str(port) not in str(caught.value) and str(port) in caught.value.detail
        await engine.close()
        server.close()
        await server.wait_closed()

    asyncio.run(act())
    assert len(asked) == 1


def test_a_service_that_starts_before_its_server_probes_when_it_is_there(machine: Machine) -> None:
    stub = machine.servers.add(Stub(talkative, models()))
    machine.stop()

    async def act() -> None:
        engine = engine_of(stub)
        with pytest.raises(EngineError, match="cannot be reached"):
            await engine.probe()
        await asyncio.to_thread(machine.start)
        await engine.probe()
        assert "choices" in engine.capabilities
        await engine.close()

    asyncio.run(act())
