"""A line for every request and every run, in either form, with ids and numbers and not a word of what was said."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from app.telemetry.logs import log_config
from tests.app.conftest import body, over_asgi

pytestmark = pytest.mark.anyio
SECRET = "a-key-of-the-operators-own"
ID = "client-made.1"


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was written to stderr since the last look; the logging of the tests comes back afterwards."""
    names = ("secondlook", "uvicorn", "uvicorn.access")
    before = [(each, each.handlers[:], each.propagate, each.level) for each in map(logging.getLogger, ["", *names])]
    yield lambda: capsys.readouterr().err
    for logger, handlers, propagate, level in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def lines(text: str, message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    return [each for each in found if each["message"] == message]


async def test_a_request_and_its_run_are_one_json_line_each(
    settings: Settings, engine: ScriptedEngine, video_path: Path, log: Callable[[], str]
) -> None:
    logging.config.dictConfig(log_config("json"))
    keyed = Settings.model_validate({**settings.model_dump(), "api_key": SECRET})
    headers = {"authorization": f"Bearer {SECRET}", "x-request-id": ID}
    async with over_asgi(keyed, engine) as client:
        response = await client.post("/v1/answers?token=hidden", json=body(video_path), headers=headers)
        await client.post("/v1/answers", json=body(video_path), headers={**headers, "x-request-id": "a b\n{}"})
        await client.get("/v1/runs/not-one", headers=headers)
        await client.get("/health")
        await client.get("/v1/files", headers={"authorization": "Bearer wrong-key-wrong-key"})
    text = log()
    first, second, missing, closed = lines(text, "request")
    run, _ = lines(text, "run")
    answer = response.json()
    assert response.headers["x-request-id"] == ID
    assert (first["request_id"], first["route"], first["method"]) == (ID, "/v1/answers", "POST")
    assert (first["status"], first["tenant"], first["run_id"]) == (200, "local", answer["id"])
    assert first["ms"] > 0 and first["level"] == "info" and first["time"].endswith("+00:00")
    assert second["request_id"] != "a b\n{}" and len(second["request_id"]) == 32
    assert (missing["route"], missing["error"]) == ("/v1/runs/{run_id}", "not_found")
    assert (closed["status"], closed["error"]) == (401, "invalid_api_key")
    assert (run["request_id"], run["run_id"], run["tenant"], run["key"]) == (ID, answer["id"], "local", "bootstrap")
    assert (run["strategy"], run["status"], run["stopped"]) == ("direct", "completed", "complete")
    report = answer["report"]
    assert (run["calls"], run["frames"]) == (report["calls"], report["frames_viewed"])
    assert run["prompt_tokens"] == report["prompt_tokens"]
    for said in (SECRET, "wrong-key", "hidden", "Which colour", "red", str(video_path)):
        assert said not in text


async def test_lines_to_read_have_the_same_fields(
    settings: Settings, engine: ScriptedEngine, log: Callable[[], str]
) -> None:
    logging.config.dictConfig(log_config("text"))
    async with over_asgi(settings, engine) as client:
        await client.get("/v1/strategies", headers={"x-request-id": ID})
    (line,) = [line for line in log().splitlines() if "request " in line]
    assert line.startswith("INFO:")
    assert f"request_id={ID} method=GET route=/v1/strategies status=200 ms=" in line


def test_uvicorns_own_lines_go_the_same_way_and_an_exception_is_one_line(log: Callable[[], str]) -> None:
    logging.config.dictConfig(log_config("json"))
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    logging.getLogger("uvicorn.access").info("GET /?key=secret")
    try:
        raise ValueError("oh")
    except ValueError:
        logging.getLogger("secondlook").exception("a bug")
    started, bug = [json.loads(line) for line in log().splitlines()]
    assert (started["message"], started["logger"]) == ("Started server process [7]", "uvicorn.error")
    assert bug["exception"].endswith("ValueError: oh")
