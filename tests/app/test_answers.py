"""The wire format of an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.engines.scripted import ScriptedEngine
from app.settings import Settings
from tests.app.conftest import always, body, over_asgi

pytestmark = pytest.mark.anyio


async def test_an_answer_carries_its_evidence_confidence_and_bill(settings, engine, film) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=body(film))
    print(response.text)
    assert response.status_code == 200
