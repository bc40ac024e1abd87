"""The service in numbers: right, in a form that Prometheus reads, and with no more labels than we have names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from agents.engines.base import EngineError, Prompt, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.main import create_app
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.app.chat.scene import CHOICE, chat, shown
from tests.app.conftest import always, body, over_asgi

pytestmark = pytest.mark.anyio


class Numbers:
    """A page of numbers, read as Prometheus reads it."""

    def __init__(self, page: str) -> None:
        self.samples = [each for family in families(page) for each in family.samples]

    def get(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name that have these labels."""
        found = [each for each in self.samples if each.name == f"secondlook_{name}"]
        return sum(each.value for each in found if labels.items() <= each.labels.items())

    def labels(self, name: str, label: str) -> set[str]:
        """All values of a label."""
        return {each.labels[label] for each in self.samples if each.name == f"secondlook_{name}"}


async def numbers(client: httpx.AsyncClient, **headers: str) -> Numbers:
    response = await client.get("/metrics", headers=headers)
    assert response.status_code == 200
    return Numbers(response.text)


async def test_what_was_asked_and_what_it_cost_is_counted(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async with over_asgi(settings, engine) as client:
        answer = (await client.post("/v1/answers", json=body(video_path))).json()
        await client.post("/v1/answers", json=body(video_path, strategy="auto"))
        await client.post("/v1/chat/completions", json=chat(*shown(0, 50), CHOICE, model="scripted:nope"))
        await client.post("/v1/files", files={"file": ("film.mp4", video_path.read_bytes())})
        await client.get(f"/v1/runs/{answer['id']}")
        await client.get("/v1/runs/run_nobody_knows")
        await client.get("/anything/at/all?key=secret")
        await client.request("BREW", "/v1/answers")
        found = await numbers(client)
    report = answer["report"]
    assert found.get("requests_total", route="/v1/answers", method="POST", status="200") == 2
    assert found.get("requests_total", route="/v1/runs/{run_id}", status="404") == 1
    assert found.get("requests_total", route="unmatched", status="404") == 1
    assert found.get("requests_total", method="other") == 1
    assert found.get("request_seconds_count", route="/v1/answers") == 3
    assert found.get("runs_total", strategy="direct", status="completed", stopped="complete") == 1
    assert found.get("runs_total", strategy="auto", status="completed") == 1
    assert found.get("run_seconds_count", strategy="direct") == 1
    assert found.get("queue_seconds_count") == 2
    assert found.get("errors_total", code="not_found") == 3
    assert found.get("engine_calls_total") >= 2
    assert found.get("frames_viewed_total") >= report["frames_viewed"]
    assert found.get("frames_decoded_total") > 0
    assert found.get("tokens_total", kind="prompt") > report["prompt_tokens"] > 0
    assert found.get("tokens_total", kind="completion") >= report["completion_tokens"] > 0
    assert found.get("stored_bytes") == video_path.stat().st_size
    assert found.get("runs_running") == found.get("runs_waiting") == found.get("decoders_lost_total") == 0
    assert not any("run_nobody" in each or "secret" in each for each in found.labels("requests_total", "route"))


def down(_prompt: Prompt, _sampling: Sampling, _n: int) -> list[ScriptLine]:
    raise EngineError("the model server is down")


async def test_failures_and_refusals_are_counted_by_code(settings: Settings, video_path: Path) -> None:
    quota = settings.quota.model_copy(update={"requests_per_minute": 2})
    secret = "a-key-of-the-operators-own"
    limited = settings.model_copy(update={"quota": quota, "api_key": secret_of(secret), "open_metrics": True})
    headers = {"authorization": f"Bearer {secret}"}
    async with over_asgi(limited, ScriptedEngine(down)) as client:
        statuses = [
            (await client.post("/v1/answers", json=body(video_path), headers=headers)).status_code for _ in range(3)
        ]
        found = await numbers(client)
    assert statuses == [503, 503, 429]
    assert found.get("errors_total", code="engine_failed") == 2
    assert found.get("errors_total", code="rate_limit_exceeded") == 1
    assert found.get("runs_total", strategy="none", status="failed", stopped="engine_failed") == 2


def secret_of(text: str) -> Any:
    return Settings(api_key=text).api_key


async def test_the_form_is_the_one_that_is_accepted(settings: Settings, engine: ScriptedEngine) -> None:
    async with over_asgi(settings, engine) as client:
        plain = await client.get("/metrics")
        opened = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n") and not plain.text.endswith("# EOF\n")


async def test_two_services_in_one_process_count_apart(settings: Settings, tmp_path: Path) -> None:
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    async with over_asgi(settings, ScriptedEngine(always("A"))) as one, over_asgi(other, ScriptedEngine([])) as two:
        await one.get("/v1/strategies")
        found, none = await asyncio.gather(numbers(one), numbers(two))
    assert found.get("requests_total", route="/v1/strategies") == 1
    assert none.get("requests_total", route="/v1/strategies") == 0


def test_what_goes_wrong_on_the_way_to_a_model_server_is_counted(settings: Settings) -> None:
    service = create_app(settings, ScriptedEngine([])).state.service
    service.telemetry.request_failed("retried")
    service.telemetry.request_failed("failed")
    found = Numbers(service.telemetry.metrics.page(None)[0].decode())
    assert found.get("engine_failures_total", kind="retried") == found.get("engine_failures_total", kind="failed") == 1
    assert service.telemetry.headers() == {}


def test_numbers_that_others_keep_are_read_when_somebody_looks() -> None:
    kept = [3.0]
    metrics = Metrics({"depth": ("How deep.", lambda: kept[0])}, {})
    kept[0] = 4.0
    assert Numbers(metrics.page(None)[0].decode()).get("depth") == 4
