"""Every strategy and every preset answers on vLLM, and its usage is the server's own count."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from agents.demo.questions import DemoQuestion
from agents.presets import Catalogue
from tests.vllm.server import Server
from tests.vllm.service import asking
from tests.vllm.spent import measured

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]


@pytest.mark.parametrize("name", Catalogue.load().names)
async def test_answers_a_question_and_bills_what_the_server_wrote(
    name: str, demo: Server, service: httpx.AsyncClient, videos: list[tuple[Path, list[DemoQuestion]]]
) -> None:
    video, questions = videos[0]
    question = next(each for each in questions if each.options)
    with measured(demo) as spent:
        response = await service.post("/v1/answers", json=asking(video, question, name))
    assert response.status_code == 200, response.text
    answer = response.json()
    report = answer["report"]
    assert answer["answer"] in question.options
    assert report["stopped"] not in ("engine", "budget", "unparsed"), report
    assert report["prompt_tokens"] > 10 * report["frames_viewed"] > 0
    assert report["completion_tokens"] == spent.written
