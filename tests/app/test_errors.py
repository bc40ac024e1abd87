"""Errors that are not about one field: wrong routes, refused places, a broken engine, our own bugs."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from agents.engines.base import Prompt, Sampling
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.errors import ERROR_SPECS, INTERNAL_ERROR
from app.settings import Settings
from tests.app.conftest import always, body, over_asgi

pytestmark = pytest.mark.anyio

REFUSED: Mapping[str, tuple[dict[str, Any], int, str, str]] = {
    "a misspelt field": ({"bugdet": {}}, 400, "unknown_field", "bugdet"),
    "a misspelt budget": ({"budget": {"frame": 3}}, 400, "unknown_field", "budget.frame"),
    "no video": ({"video": None}, 400, "invalid_value", "video"),
    "two places": ({"video": {"path": "a", "url": "b"}}, 400, "invalid_value", "video"),
    "a misspelt place": ({"video": {"pth": "a"}}, 400, "unknown_field", "video.pth"),
    "a url": ({"video": {"url": "http://127.0.0.1/a.mp4"}}, 403, "url_not_allowed", "video.url"),
    "an unknown file": ({"video": "file_" + "0" * 32}, 404, "not_found", "video"),
    "a file id that is a path": ({"video": "../../etc/passwd"}, 404, "not_found", "video"),
    "a path outside": ({"video": {"path": "/etc/passwd"}}, 403, "not_allowed", "video.path"),
    "a path that climbs out": ({"video": {"path": "../../../etc/passwd"}}, 403, "not_allowed", "video.path"),
    "a symbolic link out": ({"video": {"path": "link.mp4"}}, 403, "not_allowed", "video.path"),
    "a directory": ({"video": {"path": "."}}, 404, "not_found", "video.path"),
    "a path with a null": ({"video": {"path": "a\0b"}}, 404, "not_found", "video.path"),
    "an endless name": ({"video": {"path": "a" * 5000}}, 404, "not_found", "video.path"),
    "given pictures at one second": (
        {"video": {"pictures": [{"url": "data:,", "time": 1}, {"url": "data:,", "time": 1}]}},
        400,
        "invalid_value",
        "video.pictures",
    ),
    "a time for some pictures only": (
        {"video": {"pictures": [{"url": "data:,", "time": 1}, {"url": "data:,"}]}},
        400,
        "invalid_value",
        "video.pictures",
    ),
    "a strategy that is a number": ({"strategy": 7}, 400, "invalid_value", "strategy"),
    "a strategy without a name": ({"strategy": {"frames": 7}}, 400, "invalid_value", "strategy"),
    "a strategy named by a list": ({"strategy": {"name": []}}, 400, "invalid_value", "strategy"),
    "a misspelt parameter deep down": (
        {"strategy": {"name": "escalate", "strategies": ["direct", {"name": "direct", "framse": 4}]}},
        400,
        "unknown_parameter",
        "strategy.strategies.1.framse",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused(tmp_path: Path, video_path: Path, engine: ScriptedEngine, case: str) -> None:
    fields, status, code, param = REFUSED[case]
    inside = tmp_path / "videos"
    inside.mkdir()
    (inside / "link.mp4").symlink_to(video_path)
    async with over_asgi(Settings(data_dir=tmp_path / "data", video_dir=inside), engine) as client:
        response = await client.post("/v1/answers", json=body(video_path, **fields))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)


async def test_no_path_is_read_unless_a_directory_is_set(
    tmp_path: Path, video_path: Path, engine: ScriptedEngine
) -> None:
    async with over_asgi(Settings(data_dir=tmp_path), engine) as client:
        response = await client.post("/v1/answers", json=body(video_path))
    assert (response.status_code, response.json()["error"]["code"]) == (403, "not_allowed")


async def test_a_path_may_be_relative_to_the_directory(
    settings: Settings, video_path: Path, engine: ScriptedEngine
) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=body(video_path, video={"path": video_path.name}))
    assert response.status_code == 200


async def test_a_missing_field_is_named(settings: Settings, engine: ScriptedEngine) -> None:
    async with over_asgi(settings, engine) as client:
        error = (await client.post("/v1/answers", json={"video": "file_x"})).json()["error"]
    assert error == {
        "message": "question: This field is required.",
        "type": "invalid_request_error",
        "param": "question",
        "code": "missing_field",
    }


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"null", b""])
async def test_what_is_no_json_object(settings: Settings, engine: ScriptedEngine, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "most"), [("/v1/answers", 9000), ("/v1/chat/completions", 9000), ("/v1/runs/run_1/cancel", 6000)]
)
async def test_a_body_without_a_length_is_bounded_too(
    settings: Settings, engine: ScriptedEngine, path: str, most: int
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    headers = {"content-type": "application/json"}
    limits = {"max_body_bytes": 5000, "max_question_bytes": 8000}
    async with over_asgi(settings.model_copy(update=limits), engine) as client:
        response = await client.post(path, content=endless(), headers=headers)
    assert (response.status_code, sent) == (413, most)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("PUT", "/v1/answers", 405)])
async def test_wrong_routes_have_error_objects(
    settings: Settings, engine: ScriptedEngine, method: str, path: str, status: int
) -> None:
    async with over_asgi(settings, engine) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert ("allow" in response.headers) == (status == 405)


async def test_all_methods_of_a_path_are_told(settings: Settings, engine: ScriptedEngine) -> None:
    async with over_asgi(settings, engine) as client:
        told = {
            path: (await client.put(path)).headers["allow"] for path in ("/v1/files", "/v1/files/file_1", "/health")
        }
    assert told == {"/v1/files": "GET, POST", "/v1/files/file_1": "DELETE, GET", "/health": "GET"}


async def test_a_failing_engine_is_the_operators_matter(settings: Settings, video_path: Path) -> None:
    async with over_asgi(settings, ScriptedEngine([])) as client:
        response = await client.post("/v1/answers", json=body(video_path))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_failed")
    assert int(response.headers["retry-after"]) > 0


async def test_an_engine_that_cannot_do_it_is_named(settings: Settings, video_path: Path) -> None:
    plain = ScriptedEngine(always("A"), capabilities=frozenset())
    async with over_asgi(settings, plain) as client:
        response = await client.post("/v1/answers", json=body(video_path, strategy="best_of_n"))
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unfit_engine")


def crash(_prompt: Prompt, _sampling: Sampling, _n: int) -> list[ScriptLine]:
    """A bug of ours."""
    raise KeyError("secret detail")


@pytest.mark.parametrize("stream", [True, False])
async def test_our_own_bug_is_logged_once_and_says_nothing(
    settings: Settings, video_path: Path, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    async with over_asgi(settings, ScriptedEngine(crash)) as client:
        headers = {"x-request-id": "case-7"}
        response = await client.post("/v1/answers", json=body(video_path, stream=stream), headers=headers)
    assert "internal_error" in response.text
    assert "secret" not in response.text
    assert response.status_code == (200 if stream else 500)
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "case-7" in record.getMessage()
    assert record.exc_info is not None


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2:3", True), ("bad id", False), ("x" * 200, False), ("", False)])
async def test_every_response_has_a_request_id(
    settings: Settings, engine: ScriptedEngine, given: str, kept: bool
) -> None:
    async with over_asgi(settings, engine) as client:
        for path in ("/health", "/v1/nothing"):
            echoed = (await client.get(path, headers={"x-request-id": given})).headers["x-request-id"]
            assert (echoed == given) is kept
            assert echoed


def test_every_row_is_an_error() -> None:
    assert all(
        400 <= row.status < 600 and row.exit_code > 0 and row.code for row in [*ERROR_SPECS.values(), INTERNAL_ERROR]
    )


@pytest.mark.parametrize(("path", "status"), [("film.mp4", 200), ("link.mp4", 403), ("../outside.mp4", 403)])
async def test_the_directory_may_be_a_link(
    tmp_path: Path, video_path: Path, engine: ScriptedEngine, path: str, status: int
) -> None:
    inside, named, outside = tmp_path / "videos", tmp_path / "named", tmp_path / "outside.mp4"
    inside.mkdir()
    copy(video_path, inside / "film.mp4")
    copy(video_path, outside)
    (inside / "link.mp4").symlink_to(outside)
    named.symlink_to(inside)
    async with over_asgi(Settings(data_dir=tmp_path / "data", video_dir=named), engine) as client:
        response = await client.post("/v1/answers", json=body(video_path, video={"path": path}))
    assert response.status_code == status
