"""Many at once, slow ones, and those who leave: nobody else waits for them, and nothing of them stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.asking import HALF_AN_UPLOAD, ask, padded, question, upload, video_bytes
from tests.faults.bombs import BOMBS
from tests.model_server import modelling
from tests.service import serving, until

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


async def test_fifty_uploads_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = video_bytes(tmp_path)
    videos = [padded(content, number, 500_000) for number in range(50)]
    with serving(tmp_path) as service:
        async with service.client() as client:
            began = time.monotonic()
            sent = await asyncio.gather(*(upload(client, each) for each in videos))
            took = time.monotonic() - began
            assert {each.status_code for each in sent} == {200}
            files = [each.json()["id"] for each in sent]
            assert len(set(files)) == 50
            for number in (0, 17, 49):
                assert (await client.get(f"/v1/files/{files[number]}/content")).content == videos[number]
            answers = await asyncio.gather(*(ask(client, file) for file in files))
            assert {each.status_code for each in answers} == {200}, {each.text for each in answers}
            assert len((await client.get("/v1/files?limit=100")).json()["data"]) == 50
        assert not list(service.data.rglob("*.part"))
        assert service.complaints() == []
    with capsys.disabled():
        print(f"\n50 uploads of 0.5 MB at once: {took:.2f} s")


async def test_who_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        async with service.client() as client:
            large = (await upload(client, padded(video_bytes(tmp_path), 0, 20_000_000))).json()["id"]
            small = (await upload(client, video_bytes(tmp_path))).json()["id"]
            before = service.memory
            with ExitStack() as stack:
                for request in [_get(f"/v1/files/{large}/content")] * 40 + [_post(question(small, stream=True))] * 20:
                    deaf = stack.enter_context(socket.socket())
                    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    deaf.connect(("127.0.0.1", service.port))
                    deaf.sendall(request)
                await asyncio.sleep(1)
                for _ in range(5):
                    began = time.monotonic()
                    assert (await ask(client, small)).status_code == 200
                    assert time.monotonic() - began < 5
                assert service.memory - before < 300 << 20
            await settled(client)
        assert service.complaints() == []


async def test_who_leaves_leaves_nothing_running(tmp_path: Path) -> None:
    content = video_bytes(tmp_path)
    with modelling() as model, serving(tmp_path, engine=model.engine, retry_grace_seconds=0.5) as service:
        async with service.client() as client:
            file = (await upload(client, content)).json()["id"]
            await ask(client, file)
            model.pause(60)
            asking = [asyncio.ensure_future(ask(client, file, seed=n, stream=n % 2 == 0)) for n in range(12)]
            async with asyncio.timeout(20):
                while await asyncio.to_thread(lambda: model.active) < 4:
                    await asyncio.sleep(0.05)
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            until(lambda: model.active == 0, 10)
            await settled(client)
            model.pause(0)
            assert (await ask(client, file)).status_code == 200
        assert service.complaints() == []


async def test_who_leaves_ends_the_decoding_too(tmp_path: Path) -> None:
    wide = BOMBS["sixty pictures of 8192 x 4096"](tmp_path)
    with serving(tmp_path, retry_grace_seconds=0.1) as service:
        async with service.client() as client:
            file = (await upload(client, wide)).json()["id"]
            until(lambda: len(service.children) == 1, 5)
            asking = asyncio.ensure_future(ask(client, file, strategy={"name": "direct", "frames": 60}))
            async with asyncio.timeout(10):
                while len(service.children) < 2:
                    await asyncio.sleep(0.002)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            began = time.monotonic()
            until(lambda: len(service.children) == 1, 5)
            assert time.monotonic() - began < 2
            await settled(client)


async def test_who_leaves_after_an_acknowledgement_gets_the_answer_later(tmp_path: Path) -> None:
    with modelling(1.0) as model, serving(tmp_path, engine=model.engine, retry_grace_seconds=0.1) as service:
        async with service.client() as client:
            file = (await upload(client, video_bytes(tmp_path))).json()["id"]
            begun = [(await ask(client, file, seed=seed, background=True)).json()["id"] for seed in range(3)]
        async with service.client() as client:
            await settled(client)
            found = [(await client.get(f"/v1/runs/{run}")).json() for run in begun]
            assert [(run["status"], run["response"]["answer"]) for run in found] == [("completed", "this")] * 3
        assert service.complaints() == []


async def test_who_leaves_in_mid_upload_leaves_no_file(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        with ExitStack() as stack:
            for _ in range(10):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
                one.sendall(HALF_AN_UPLOAD)
            until(lambda: len(list(service.data.rglob("*.part"))) == 10, 10)
        until(lambda: not list(service.data.rglob("*.part")), 10)
        async with service.client() as client:
            assert (await client.get("/v1/files")).json()["data"] == []
        assert service.complaints() == []


async def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    content = video_bytes(tmp_path)
    with serving(tmp_path, small_disk(tmp_path), min_free_bytes=0) as service:
        async with service.client() as client:
            kept = [(await upload(client, padded(content, number, 1_000_000))).json()["id"] for number in range(5)]
            full = await asyncio.gather(*(upload(client, padded(content, 9, 30_000_000)) for _ in range(3)))
            assert {each.status_code for each in full} == {507}, [each.text for each in full]
            assert {each.json()["error"]["code"] for each in full} == {"storage_full"}
            more = [await upload(client, padded(content, number, 3_000_000)) for number in range(20, 30)]
            assert {each.status_code for each in more} == {200, 507}
            kept += [each.json()["id"] for each in more if each.status_code == 200]
            listed = (await client.get("/v1/files?limit=100")).json()["data"]
            assert {each["id"] for each in listed} == set(kept)
            for file in kept:
                assert (await client.get(f"/v1/files/{file}/content")).status_code == 200
            assert (await client.delete(f"/v1/files/{kept.pop()}")).status_code == 200
            assert (await upload(client, padded(content, 99, 1_000_000))).status_code == 200
            assert (await ask(client, kept[0])).status_code == 200
        assert service.alive


async def test_without_a_byte_left_no_promise_is_made(tmp_path: Path) -> None:
    with serving(tmp_path, small_disk(tmp_path), min_free_bytes=0) as service:
        async with service.client() as client:
            file = (await upload(client, video_bytes(tmp_path))).json()["id"]
            kept = (await client.post("/v1/answers", json=question(file), headers={"Idempotency-Key": "a"})).json()
            filler = Path(f"/proc/{service.pid}/root{service.data}/filler")
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as full:
                while True:
                    full.write(bytes(4096))
            asked = [await ask(client, file, seed=seed, background=seed % 2 == 0) for seed in range(6)]
            assert {each.status_code for each in asked} <= {200, 202, 507}, [each.text for each in asked]
            assert (await client.get("/health")).status_code == 200
            filler.unlink()
            await settled(client)
            promised = [kept["id"], *(each.json()["id"] for each in asked if each.status_code == 202)]
            for run in promised:
                assert (await client.get(f"/v1/runs/{run}")).json()["status"] == "completed"
            assert (await ask(client, file)).status_code == 200
        assert service.complaints() == []


def small_disk(folder: Path) -> list[str]:
    """A command that starts another with a disk of 24 MB of its own for the service's data."""
    inside = "mount -t tmpfs -o size=24m none " + str(folder / "data") + ' && exec "$@"'
    wrapper = ["unshare", "--mount", "--map-root-user", "sh", "-c", inside, "sh"]
    (folder / "data").mkdir()
    assert shutil.which("unshare") and subprocess.run([*wrapper, "true"], check=False).returncode == 0
    return wrapper


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _post(question: dict[str, Any]) -> bytes:
    body = json.dumps(question)
    headers = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"POST /v1/answers HTTP/1.1\r\n{headers}\r\n\r\n{body}".encode()


async def settled(client: httpx.AsyncClient) -> None:
    """Return when no run is at work any more."""
    async with asyncio.timeout(20):
        for status in ("running", "queued"):
            while (await client.get("/v1/runs", params={"status": status})).json()["data"]:
                await asyncio.sleep(0.1)
