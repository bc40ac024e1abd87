"""A plain answer goes out before the rest is told of it, and the rest before its client can ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import pytest
from starlette.middleware import Middleware
from starlette.types import Message, Receive, Scope, Send

from agents.core.trace import Event
from agents.engines.scripted import ScriptedEngine
from app.main import create_app
from app.runs.run import ActiveRun
from app.runs.schemas import RunStatus
from app.settings import Settings
from app.telemetry.observers import FinishedRequest
from tests.app.conftest import body
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Notes:
    """A watcher that notes when it is told of a run's end; `said` is what happened, in order."""

    middleware: Sequence[Middleware] = ()

    def __init__(self) -> None:
        self.said: list[str] = []

    def headers(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        pass

    def on_request_end(self, request: FinishedRequest) -> None:
        pass

    def on_run_start(self, live: ActiveRun, waited: float) -> None:
        pass

    def on_event(self, live: ActiveRun, event: Event, choice: int) -> None:
        pass

    def on_run_end(self, live: ActiveRun, status: RunStatus, error: str | None) -> None:  # noqa: ARG002 - as watchers are told
        self.said.append("ended")


@pytest.mark.parametrize(("headers", "said"), [({}, ["sent", "ended"]), ({"idempotency-key": "1"}, ["ended", "sent"])])
async def test_a_plain_answer_waits_for_nothing_that_is_told_of_it(
    settings: Settings, engine: ScriptedEngine, film: Path, headers: dict[str, str], said: list[str]
) -> None:
    notes = Notes()
    app = create_app(settings, engine, notes)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.body":
                notes.said.append("sent")
            await send(message)

        await app(scope, receive, noted)

    client = httpx.AsyncClient(transport=httpx.ASGITransport(noting), base_url="http://localhost")
    async with app.router.lifespan_context(app), client:
        answer = (await client.post("/v1/answers", json=body(film), headers=headers)).json()
        await until(lambda: "ended" in notes.said)
        assert notes.said == said
        shown = (await client.get(f"/v1/runs/{answer['id']}")).json()
    assert shown["status"] == "completed"
