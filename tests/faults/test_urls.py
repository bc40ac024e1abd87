"""Forbidden URLs over HTTP, at every endpoint that takes one."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.app.fetch.site import canary, moved, reached, running
from tests.app.fetch.test_policy import TABLE
from tests.faults.asking import question
from tests.service import serving

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


async def test_no_url_reaches_a_private_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: Counter[int] = Counter()
    with canary() as listener:
        port = listener.getsockname()[1]
        with serving(tmp_path, fetch_ports=f"[80,443,{port}]") as service:
            async with service.client() as client:
                for url in (line.format(port=port) for line in TABLE):
                    shown = [{"type": "text", "text": "What?"}]
                    for kind in ("video_url", "image_url"):
                        part = {"type": kind, kind: {"url": url}}
                        chat = {"model": "scripted", "messages": [{"role": "user", "content": [*shown, part]}]}
                        response = await client.post("/v1/chat/completions", json=chat)
                        seen[response.status_code] += 1
                        assert 400 <= response.status_code < 500, (url, kind, response.text)
                    response = await client.post("/v1/answers", json=question({"url": url}))
                    seen[response.status_code] += 1
                    assert 400 <= response.status_code < 500, (url, response.text)
            assert not reached(listener)
            assert service.complaints() == []
    with capsys.disabled():
        print(f"\n{len(TABLE)} URLs by three doors: {dict(seen)}")


async def test_no_redirect_leads_to_a_private_machine(tmp_path: Path) -> None:
    with canary() as listener:
        port = listener.getsockname()[1]
        async with running() as site:
            with serving(
                tmp_path, fetch_ports=f"[80,443,{port}]", fetch_private=f'["127.0.0.1:{site.port}"]'
            ) as service:
                async with service.client() as client:
                    for number, to in enumerate(url for url in TABLE if url.isprintable() and url == url.strip()):
                        site.answers[f"/{number}"] = moved(to.format(port=port).encode().decode("latin-1"))
                        url = f"http://127.0.0.1:{site.port}/{number}"
                        response = await client.post("/v1/answers", json=question({"url": url}))
                        assert 400 <= response.status_code < 500, (to, response.text)
                assert site.connections >= len(site.answers) > 100
        assert not reached(listener)


def test_the_canary_sings() -> None:
    with canary() as listener:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as caller:
                caller.connect((host, listener.getsockname()[1]))
                assert reached(listener)
        assert not reached(listener)
