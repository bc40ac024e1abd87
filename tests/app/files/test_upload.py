"""Uploads: bounded while they stream, and nothing stays of what is refused or was left behind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from agents.engines.scripted import ScriptedEngine
from app.files.upload import MultipartUpload, UploadSpool
from app.settings import Settings
from tests.app.conftest import body, over_asgi, over_socket

pytestmark = pytest.mark.anyio
TYPE = {"content-type": "multipart/form-data; boundary=cut"}


def form(content: bytes, name: str = "file", filename: str = "film.mp4") -> bytes:
    """A multipart body with one part."""
    head = f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + b"\r\n--cut--\r\n"


def field(name: str, value: str) -> bytes:
    """A part of a form, to be followed by others."""
    return f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def expiry(anchor: str, seconds: int) -> bytes:
    """Two parts of a form that say when the file is to go."""
    return field("expires_after[anchor]", anchor) + field("expires_after[seconds]", str(seconds))


def left(settings: Settings) -> list[Path]:
    """All files under the data directory, but for the records."""
    return [path for path in settings.data_dir.rglob("*") if path.is_file() and "records" not in path.name]


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """A body without a declared length."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_an_upload_can_be_asked_about_and_forgotten(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    content = video_path.read_bytes()
    async with over_asgi(settings, engine) as client:
        stored = (await client.post("/v1/files", files={"file": ("x", content)}, data={"purpose": "vision"})).json()
        assert re.fullmatch(r"file_[0-9a-f]{32}", stored["id"])
        assert (stored["object"], stored["bytes"], stored["status"]) == ("file", len(content), "processed")
        assert (stored["filename"], stored["purpose"]) == ("x", "vision")
        assert stored["video"]["duration"] == 64
        assert (stored["video"]["width"], stored["video"]["height"]) == (64, 48)
        assert (stored["video"]["codec"], stored["video"]["frame_count"]) == ("h264", 256)
        assert (await client.get(f"/v1/files/{stored['id']}")).json() == stored
        answered = await client.post("/v1/answers", json=body(video_path, video=stored["id"]))
        assert answered.json()["answer"] == "red"
        gone = await client.delete(f"/v1/files/{stored['id']}")
        assert gone.json() == {"id": stored["id"], "object": "file", "deleted": True}
        for again in (client.get, client.delete):
            assert (await again(f"/v1/files/{stored['id']}")).status_code == 404
        missing = await client.post("/v1/answers", json=body(video_path, video=stored["id"]))
        assert (missing.status_code, missing.json()["error"]["param"]) == (404, "video")
    assert left(settings) == []


NAMES = {
    "../../../escaped.mp4": "escaped.mp4",
    "/etc/passwd": "passwd",
    "C:\\films\\a.mp4": "a.mp4",
    "..": "..",
    "a\x00b\x07\u202ec.mp4": "abc.mp4",
    "": "video",
    "x" * 1000: "x" * 255,
    "фильм 1.mp4": "фильм 1.mp4",
}


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_clients_are_no_paths(
    settings: Settings, engine: ScriptedEngine, video_path: Path, name: str
) -> None:
    before = set(settings.data_dir.parent.rglob("*"))
    async with over_asgi(settings, engine) as client:
        content = form(video_path.read_bytes(), filename=name.replace("\\", "\\\\"))
        response = await client.post("/v1/files", content=content, headers=TYPE)
        assert (response.status_code, response.json()["filename"]) == (200, NAMES[name])
        saved = await client.get(f"/v1/files/{response.json()['id']}/content")
        assert saved.headers["content-disposition"].startswith("attachment")
    (path,) = left(settings)
    assert re.fullmatch(r"[0-9a-f]{32}", path.name)
    assert all(each.is_relative_to(settings.data_dir) for each in set(settings.data_dir.parent.rglob("*")) - before)


@pytest.mark.parametrize("file_id", ["..%2f..%2fetc%2fpasswd", "file_..", "file_" + "A" * 32, "a%00b", "%ff"])
async def test_ids_of_clients_are_no_paths(settings: Settings, engine: ScriptedEngine, file_id: str) -> None:
    async with over_asgi(settings, engine) as client:
        for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
            assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("declared", [True, False])
async def test_a_video_above_the_limit_is_refused_while_it_arrives(
    settings: Settings, engine: ScriptedEngine, video_path: Path, declared: bool
) -> None:
    content = form(video_path.read_bytes() + bytes(2_000_000))
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


async def test_a_video_just_below_the_limit_is_kept(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    exact = settings.model_copy(update={"max_upload_bytes": video_path.stat().st_size})
    async with over_asgi(exact, engine) as client:
        response = await client.post("/v1/files", content=pieces(form(video_path.read_bytes())), headers=TYPE)
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
    "an unknown purpose": (field("purpose", "fun") + form(b"x"), TYPE, 400, "purpose"),
    "a purpose twice": (field("purpose", "vision") * 2 + form(b"x"), TYPE, 400, "purpose"),
    "an expiry too soon": (expiry("created_at", 1) + form(b"x"), TYPE, 400, "expires_after.seconds"),
    "an expiry without an anchor": (
        field("expires_after[seconds]", "3600") + form(b"x"),
        TYPE,
        400,
        "expires_after.anchor",
    ),
    "an expiry in one piece": (field("expires_after", "3600") + form(b"x"), TYPE, 400, "expires_after"),
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
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield form(video_path.read_bytes())[:2000]
        raise ConnectionAbortedError

    async with over_socket(settings, engine) as client:
        with pytest.raises(ConnectionAbortedError):
            await client.post("/v1/files", content=half(), headers=TYPE)
        assert (await client.get("/health")).status_code == 200
    assert left(settings) == []


async def test_an_upload_that_falls_silent_ends(settings: Settings, engine: ScriptedEngine) -> None:
    impatient = settings.model_copy(update={"idle_seconds": 0.05})
    headers = [
        "POST /v1/files HTTP/1.1",
        "host: localhost",
        f"content-type: {TYPE['content-type']}",
        "content-length: 9999",
    ]
    head = "\r\n".join([*headers, "", ""])
    async with over_socket(impatient, engine) as client, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(head.encode() + form(bytes(5000))[:2000])
        response = await reader.readuntil(b"}}")
        writer.close()
        await writer.wait_closed()
    assert response.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in response
    assert left(settings) == []


async def test_fields_may_come_after_the_file(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    content = form(video_path.read_bytes()).replace(b"--cut--\r\n", field("purpose", "evals") + b"--cut--\r\n")
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/files", content=content, headers=TYPE)
    assert response.json()["purpose"] == "evals"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_the_file_is_found_however_the_body_is_cut(size: int) -> None:
    content = b"\r\n--cu\r\n--cux no\r\n-\r\n" * 5
    whole = field("purpose", "vision") + form(content)
    reader = MultipartUpload(TYPE["content-type"], spare=1000, known=["purpose"])
    found = b"".join(reader.feed(whole[start : start + size]) for start in range(0, len(whole), size))
    assert found == content
    assert (reader.filename, reader.fields) == ("film.mp4", {"purpose": "vision"})


def test_sweeping_takes_no_file_that_is_just_being_made(tmp_path: Path) -> None:
    incoming, over = UploadSpool(tmp_path, 0), Event()

    def sweep() -> None:
        while not over.is_set():
            incoming.sweep()

    with ThreadPoolExecutor(1) as sweeper:
        swept = sweeper.submit(sweep)
        try:
            for _ in range(2000):
                with incoming.file() as part:
                    assert part.path.exists()
        finally:
            over.set()
        swept.result()
    assert not list(tmp_path.iterdir())
