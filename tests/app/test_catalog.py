"""What the service tells about itself: strategies, models, health, its own documentation."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx
import pytest

from agents.engines.scripted import ScriptedEngine
from agents.presets import Catalogue
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import always, over_asgi

pytestmark = pytest.mark.anyio


async def test_every_name_has_a_card(settings: Settings, engine: ScriptedEngine) -> None:
    async with over_asgi(settings, engine) as client:
        cards = {card["name"]: card for card in (await client.get("/v1/strategies")).json()["data"]}
    assert tuple(cards) == Catalogue.load().names
    assert all(card["summary"] and card["description"] and card["papers"] and card["fits"] for card in cards.values())
    direct = cards["direct"]["parameters"]["properties"]["frames"]
    assert (direct["default"], direct["minimum"], direct["maximum"]) == (32, 1, 1024)
    assert direct["description"]
    assert cards["until_confident"]["needs"] == ["logprobs"]
    rts = cards["video_rts"]
    assert (rts["strategy"], rts["fidelity"], rts["papers"]) == (
        "sparse_to_dense",
        "without its training",
        ["2507.06485"],
    )
    assert rts["parameters"]["properties"]["limit"]["default"] == 128
    assert rts["parameters"]["properties"]["name"]["const"] == "video_rts"


async def test_what_the_engine_cannot_do_is_told(settings: Settings) -> None:
    async with over_asgi(settings, ScriptedEngine(always("A"), capabilities=frozenset())) as client:
        cards = {card["name"]: card for card in (await client.get("/v1/strategies")).json()["data"]}
    assert (cards["best_of_n"]["fits"], cards["direct"]["fits"]) == (False, True)


async def test_the_model_is_listed_alone_and_with_every_strategy(settings: Settings, engine: ScriptedEngine) -> None:
    async with over_asgi(settings, engine) as client:
        listed = (await client.get("/v1/models")).json()["data"]
        first = (await client.get("/v1/models/scripted")).json()
        named = (await client.get("/v1/models/scripted:auto")).json()
        missing = await client.get("/v1/models/scripted:guess")
    assert [card["id"] for card in listed] == ["scripted", *(f"scripted:{name}" for name in Catalogue.load().names)]
    assert first == listed[0]
    assert named in listed
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    assert first.pop("created") > 0
    assert first == {
        "id": "scripted",
        "object": "model",
        "owned_by": "secondlook",
        "offers": ["choices", "logprobs", "stream"],
        "strategy": None,
    }
    assert named["strategy"] == "auto"


async def test_strategies_that_the_engine_cannot_run_are_no_models(settings: Settings) -> None:
    async with over_asgi(settings, ScriptedEngine(always("A"), capabilities=frozenset())) as client:
        names = [card["id"] for card in (await client.get("/v1/models")).json()["data"]]
        refused = await client.get("/v1/models/scripted:best_of_n")
    assert "scripted:direct" in names
    assert "scripted:best_of_n" not in names
    assert refused.status_code == 404


async def test_the_service_lives_before_its_engine_does(tmp_path: Path) -> None:
    app = create_app(Settings(engine="scripted:A", data_dir=tmp_path))
    app.state.service.database.open()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        for path in ("/ready", "/v1/models", "/v1/strategies"):
            response = await client.get(path)
            assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
            assert int(response.headers["retry-after"]) > 0
        async with app.router.lifespan_context(app), asyncio.timeout(60):
            while (response := await client.get("/ready")).status_code == 503:
                await asyncio.sleep(0.01)
            assert response.json() == {"status": "ready", "model": "scripted"}


async def test_an_engine_that_cannot_be_loaded_is_told_and_logged_in_one_line(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with over_asgi(settings.model_copy(update={"engine": "nonsense:"})) as client, asyncio.timeout(60):
        while (response := await client.get("/ready")).json()["error"]["code"] != "engine_unavailable":
            await asyncio.sleep(0.01)
        assert response.status_code == 503
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "nonsense:" in record.getMessage()


async def test_the_documentation_describes_every_route(settings: Settings, engine: ScriptedEngine) -> None:
    async with over_asgi(settings, engine) as client:
        document = (await client.get("/openapi.json")).json()
        assert (await client.get("/docs")).status_code == 200
    routes = {f"{method} {path}" for path, methods in document["paths"].items() for method in methods}
    assert routes == {
        "post /v1/answers",
        "post /v1/files",
        "get /v1/files",
        "get /v1/files/{file_id}",
        "get /v1/files/{file_id}/content",
        "delete /v1/files/{file_id}",
        "get /v1/strategies",
        "get /v1/models",
        "get /v1/models/{model}",
        "post /v1/chat/completions",
        "get /v1/runs",
        "get /v1/runs/{run_id}",
        "get /v1/runs/{run_id}/events",
        "post /v1/runs/{run_id}/cancel",
        "post /v1/runs/{run_id}/resume",
        "post /v1/indexes",
        "get /v1/indexes",
        "get /v1/indexes/{index_id}",
        "delete /v1/indexes/{index_id}",
        "post /v1/search",
        "get /health",
        "get /ready",
        "get /metrics",
    }
    schemas = document["components"]["schemas"]
    assert {"Direct", "SelfConsistency", "Escalate"} <= set(schemas)  # the strategies with their parameters
    assert schemas["Direct"]["properties"]["frames"]["maximum"] == 1024
    assert "HTTPValidationError" not in schemas  # errors have our form, not the framework's
    assert "text/event-stream" in document["paths"]["/v1/answers"]["post"]["responses"]["200"]["content"]
    request = schemas["AnswerRequest"]
    assert request["required"] == ["video", "question"]
    assert all(shape.get("description") for name, shape in request["properties"].items() if name != "question")
