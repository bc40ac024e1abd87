"""A thousand damaged, forged and exploding videos through the whole service."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.asking import upload
from tests.faults.mutants import Mutant, mutants
from tests.service import Service, serving, until

pytestmark = [pytest.mark.faults, pytest.mark.anyio]

COUNT = 1000
AT_ONCE = 4
LONGEST_SECONDS = 10.0
"""For any request, on a machine of our own. Where others compute too, as many times longer as they leave us less."""

MORE_MEMORY = 700 << 20
"""Bytes by which the service may grow: its cache of frames, and some."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all of them."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


def crowd() -> float:
    """How many times more work there is beside ours than there are processors; 1 on a machine of our own."""
    return max(1.0, (os.getloadavg()[0] - AT_ONCE) / (os.cpu_count() or 1))


async def treat(client: httpx.AsyncClient, mutant: Mutant) -> tuple[str, float]:
    """Upload a video and ask about it. What came of it in a word, and the seconds that the slowest request took."""
    began = time.monotonic()
    sent = await upload(client, mutant.content)
    slowest = time.monotonic() - began
    assert sent.status_code < 500, (mutant.name, sent.text)
    if sent.status_code != 200:
        assert sent.json()["error"]["code"] == "unreadable_video", (mutant.name, sent.text)
        return "refused at once", slowest
    file = sent.json()["id"]
    began = time.monotonic()
    question = {
        "video": file,
        "question": "What?",
        "options": ["this", "that"],
        "strategy": {"name": "direct", "frames": 16},
    }
    answered = await client.post("/v1/answers", json=question)
    slowest = max(slowest, time.monotonic() - began)
    assert answered.status_code < 500, (mutant.name, answered.text)
    assert (await client.delete(f"/v1/files/{file}")).status_code == 200
    if answered.status_code != 200:
        assert answered.json()["error"]["code"] == "unreadable_video", (mutant.name, answered.text)
        return "refused when asked about", slowest
    return "answered, degraded" if answered.json()["report"]["degraded"] else "answered", slowest


async def test_no_video_brings_the_service_down(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = service.memory
    waiting = iter(list(mutants(tmp_path, COUNT)))
    seen: Counter[str] = Counter()
    slowest: list[tuple[float, str]] = []
    fair: list[float] = []

    async def work(client: httpx.AsyncClient) -> None:
        for mutant in waiting:
            outcome, seconds = await treat(client, mutant)
            seen[outcome] += 1
            slowest.append((seconds, mutant.name))
            fair.append(seconds / crowd())

    async with service.client() as client:
        await asyncio.gather(*(work(client) for _ in range(AT_ONCE)))
    with capsys.disabled():
        print(f"\n{dict(seen)}; {(service.memory - before) >> 20} MiB more; the slowest:")
        print(*(f"  {seconds:.2f} s  {name}" for seconds, name in sorted(slowest)[-5:]), sep="\n")
    assert sum(seen.values()) == COUNT
    assert max(fair) < LONGEST_SECONDS
    assert min(seen["answered"], seen["answered, degraded"], seen["refused at once"]) > 50
    assert service.alive
    assert service.memory - before < MORE_MEMORY
    assert service.complaints() == []
    until(lambda: len(service.children) == 1, 5)
    assert not [path for path in service.data.rglob("*") if path.suffix in (".part", ".video")]
