"""Uploads: kept by content, bounded while they stream, and nothing stays of what is refused."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.engines.scripted import ScriptedEngine
from app.multipart import FilePart
from app.settings import Settings
from app.videos import Videos
from tests.app.conftest import body, over_asgi, over_socket
from tools.decoders import InProcess

pytestmark = pytest.mark.anyio
TYPE = {"content-type": "multipart/form-data; boundary=cut"}


def form(content: bytes, name: str = "file", filename: str = "film.mp4") -> bytes:
    """A multipart body with one part."""
    head = f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + b"\r\n--cut--\r\n"


def left(settings: Settings) -> list[Path]:
    """All files under the data directory, but for the records."""
    return [path for path in settings.data_dir.rglob("*") if path.is_file() and "records" not in path.name]


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """A body without a declared length."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_an_upload_can_be_asked_about_and_forgotten(
    settings: Settings, engine: ScriptedEngine, film: Path
) -> None:
    content = film.read_bytes()
    async with over_asgi(settings, engine) as client:
        stored = (await client.post("/v1/files", files={"file": ("x", content)}, data={"purpose": "vision"})).json()
        assert stored["id"] == f"file_{hashlib.sha256(content).hexdigest()[:32]}"
        assert (stored["object"], stored["bytes"]) == ("file", len(content))
        assert stored["video"]["duration"] == 64
        assert (stored["video"]["width"], stored["video"]["height"]) == (64, 48)
        assert (stored["video"]["codec"], stored["video"]["frame_count"]) == ("h264", 256)
        assert (await client.get(f"/v1/files/{stored['id']}")).json() == stored
        answered = await client.post("/v1/answers", json=body(film, video=stored["id"]))
        assert answered.json()["answer"] == "red"
        gone = await client.delete(f"/v1/files/{stored['id']}")
        assert gone.json() == {"id": stored["id"], "object": "file", "deleted": True}
        for again in (client.get, client.delete):
            assert (await again(f"/v1/files/{stored['id']}")).status_code == 404
        missing = await client.post("/v1/answers", json=body(film, video=stored["id"]))
        assert (missing.status_code, missing.json()["error"]["param"]) == (404, "video")
    assert left(settings) == []


async def test_the_same_video_twice_is_one_file(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    async with over_asgi(settings, engine) as client:
        two = [await client.post("/v1/files", files={"file": film.read_bytes()}) for _ in range(2)]
    assert two[0].json() == two[1].json()
    assert len(left(settings)) == 2  # the video and its facts


async def test_names_of_clients_are_no_paths(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    async with over_asgi(settings, engine) as client:
        content = form(film.read_bytes(), filename="../../../escaped.mp4")
        response = await client.post("/v1/files", content=content, headers=TYPE)
        assert response.status_code == 200
        for path in ("/v1/files/..%2f..%2fetc%2fpasswd", "/v1/files/file_..", "/v1/files/file_" + "A" * 32):
            assert (await client.get(path)).status_code == 404
    assert all(path.name.startswith(response.json()["id"]) for path in left(settings))


@pytest.mark.parametrize("declared", [True, False])
async def test_a_video_above_the_limit_is_refused_while_it_arrives(
    settings: Settings, engine: ScriptedEngine, film: Path, declared: bool
) -> None:
    content = form(film.read_bytes() + bytes(2_000_000))
    small = settings.model_copy(update={"max_upload_bytes": 100_000, "max_body_bytes": 1000})
    sent = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal sent
        async for piece in pieces(content):
            sent += len(piece)
            yield piece

    headers = {**TYPE, **({"content-length": str(len(content))} if declared else {})}
    async with over_asgi(small, engine) as client:
        response = await client.post("/v1/files", content=counted(), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert sent <= (0 if declared else 102_000)
    assert left(settings) == []


async def test_a_video_just_below_the_limit_is_kept(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    exact = settings.model_copy(update={"max_upload_bytes": film.stat().st_size})
    async with over_asgi(exact, engine) as client:
        response = await client.post("/v1/files", content=pieces(form(film.read_bytes())), headers=TYPE)
    assert response.status_code == 200


async def test_the_refusal_reaches_a_client_that_is_still_sending(settings: Settings, engine: ScriptedEngine) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 100_000})
    async with over_socket(small, engine) as client:
        response = await client.post("/v1/files", content=pieces(form(bytes(20_000_000)), 100_000), headers=TYPE)
    assert response.status_code == 413


@pytest.mark.parametrize("content", [b"", b"this is no video", bytes(50_000)])
async def test_what_is_no_video_is_refused_and_not_kept(
    settings: Settings, engine: ScriptedEngine, content: bytes
) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/files", content=form(content), headers=TYPE)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "unreadable_video")
    assert str(settings.data_dir) not in response.text
    assert left(settings) == []


BAD_FORMS: dict[str, tuple[bytes, dict[str, str], int, str | None]] = {
    "no part named file": (form(b"x", name="purpose"), TYPE, 400, "file"),
    "an unknown part": (form(b"x", name="fiel"), TYPE, 400, "fiel"),
    "two files": (form(b"x").replace(b"--cut--", b"") + form(b"y"), TYPE, 400, "file"),
    "broken off": (form(bytes(5000))[:3000], TYPE, 400, "file"),
    "no multipart": (b"just bytes", TYPE, 400, None),
    "no boundary": (form(b"x"), {"content-type": "multipart/form-data"}, 415, None),
    "another type": (b"{}", {"content-type": "application/json"}, 415, None),
    "no type": (b"x", {}, 415, None),
    "much beside the file": (form(bytes(2_000_000), name="purpose"), TYPE, 413, None),
}


@pytest.mark.parametrize("case", BAD_FORMS)
async def test_bad_forms(settings: Settings, engine: ScriptedEngine, case: str) -> None:
    content, headers, status, param = BAD_FORMS[case]
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/files", content=content, headers=headers)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert left(settings) == []


async def test_a_client_that_leaves_in_mid_upload_leaves_nothing(
    settings: Settings, engine: ScriptedEngine, film: Path
) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield form(film.read_bytes())[:2000]
        raise ConnectionAbortedError

    async with over_socket(settings, engine) as client:
        with pytest.raises(ConnectionAbortedError):
            await client.post("/v1/files", content=half(), headers=TYPE)
        assert (await client.get("/health")).status_code == 200
    assert left(settings) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_the_file_is_found_however_the_body_is_cut(size: int) -> None:
    content = b"\r\n--cu\r\n--cux no\r\n-\r\n" * 5
    whole = form(content)
    part = FilePart(TYPE["content-type"], spare=1000)
    found = b"".join(part.feed(whole[start : start + size]) for start in range(0, len(whole), size))
    assert found == content
    assert part.ended


def test_what_dead_processes_left_is_swept(settings: Settings) -> None:
    incoming = settings.data_dir / "incoming"
    incoming.mkdir(parents=True)
    old, new = incoming / "old.part", incoming / "new.part"
    old.touch()
    new.touch()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    Videos(settings, InProcess()).sweep()
    assert left(settings) == [new]
