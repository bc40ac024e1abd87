"""Every bad input with its status, its error object and its exit code, over HTTP and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agents.engines.scripted import ScriptedEngine
from app.cli.main import cli
from app.errors import ErrorDetail, UnsupportedMediaType
from app.settings import Settings
from tests.app.conftest import COLOURS, body, over_asgi

OPTIONS = [word for colour in COLOURS for word in ("--option", colour)]


@dataclass(frozen=True)
class Bad:
    """One bad input: the fields of a request and the same on a command line, and what must come of both."""

    fields: dict[str, Any]
    line: list[str]
    status: int
    code: str
    param: str | None
    exit: int = 2
    names: str = ""
    video: str = "film"
    question: str = "Which colour is seen?"
    options: list[str] = field(default_factory=lambda: OPTIONS)


MANY = [f"option {number}" for number in range(27)]
CASES = {
    "unknown strategy": Bad(
        {"strategy": "gues"}, ["--strategy", "gues"], 400, "unknown_strategy", "strategy", names="'gues'"
    ),
    "misspelt parameter": Bad(
        {"strategy": {"name": "direct", "framse": 4}},
        ["--strategy", "direct", "--set", "framse=4"],
        400,
        "unknown_parameter",
        "strategy.framse",
        names="'framse'",
    ),
    "misspelt parameter of a preset": Bad(
        {"strategy": {"name": "video_rts", "sample": 4}},
        ["--strategy", "video_rts", "--set", "sample=4"],
        400,
        "unknown_parameter",
        "strategy.sample",
        names="'sample'",
    ),
    "out-of-bounds parameter": Bad(
        {"strategy": {"name": "direct", "frames": 5000}},
        ["--strategy", "direct", "--set", "frames=5000"],
        400,
        "invalid_parameter",
        "strategy.frames",
        names="1024",
    ),
    "parameter of the wrong type": Bad(
        {"strategy": {"name": "direct", "frames": "many"}},
        ["--strategy", "direct", "--set", "frames=many"],
        400,
        "invalid_parameter",
        "strategy.frames",
    ),
    "missing video": Bad({}, [], 404, "not_found", "video.path", 3, "missing.mp4", video="missing.mp4"),
    "unreadable video": Bad({}, [], 422, "unreadable_video", None, 3, video="notes.mp4"),
    "empty video": Bad({}, [], 422, "unreadable_video", None, 3, "empty", video="empty.mp4"),
    "start = end": Bad({"start": 5, "end": 5}, ["--start", "5", "--end", "5"], 400, "invalid_value", "end"),
    "end at the start": Bad({"end": 0}, ["--end", "0"], 400, "invalid_value", "end"),
    "start > end": Bad(
        {"start": 9, "end": 5}, ["--start", "9", "--end", "5"], 400, "invalid_value", "end", names="9 s"
    ),
    "start past the end": Bad({"start": 64}, ["--start", "64"], 400, "invalid_value", "start", names="64"),
    "start before the film": Bad({"start": -1}, ["--start", "-1"], 400, "invalid_value", "start"),
    "empty question": Bad({}, [], 400, "invalid_value", "question", question="  "),
    "one option": Bad(
        {"options": ["red"]}, [], 400, "invalid_value", "options", names="not 1", options=["--option", "red"]
    ),
    "27 options": Bad(
        {"options": MANY},
        [],
        400,
        "invalid_value",
        "options",
        names="not 27",
        options=[word for each in MANY for word in ("--option", each)],
    ),
    "an option twice": Bad(
        {"options": ["red", "Red"]},
        [],
        400,
        "invalid_value",
        "options",
        options=["--option", "red", "--option", "Red"],
    ),
    "empty option": Bad(
        {"options": ["red", " "]},
        [],
        400,
        "invalid_value",
        "options.1",
        options=["--option", "red", "--option", " "],
    ),
    "a kind that contradicts the options": Bad({"kind": "number"}, ["--kind", "number"], 400, "invalid_value", "kind"),
    "unknown kind": Bad({"kind": "poem"}, ["--kind", "poem"], 400, "invalid_value", "kind", names="yesno"),
    "zero frames": Bad({"budget": {"frames": 0}}, ["--frames", "0"], 400, "invalid_value", "budget.frames"),
    "zero tokens": Bad({"budget": {"tokens": 0}}, ["--tokens", "0"], 400, "invalid_value", "budget.tokens"),
    "zero calls": Bad({"budget": {"calls": 0}}, ["--calls", "0"], 400, "invalid_value", "budget.calls"),
    "zero seconds": Bad({"budget": {"seconds": 0}}, ["--seconds", "0"], 400, "invalid_value", "budget.seconds"),
    "negative seed": Bad({"seed": -1}, ["--seed", "-1"], 400, "invalid_value", "seed"),
    "body too large": Bad({}, [], 413, "too_large", None, names="20000", question="why " * 10_000),
}


@pytest.fixture
def place(tmp_path: Path, video_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a good video and bad ones, which is where the command is run."""
    (tmp_path / "film").symlink_to(video_path)
    (tmp_path / "notes.mp4").write_text("Buy milk.")
    (tmp_path / "empty.mp4").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECONDLOOK_MAX_QUESTION_BYTES", "20000")
    yield tmp_path


@pytest.mark.anyio
@pytest.mark.parametrize("name", CASES)
async def test_over_http(place: Path, video_path: Path, engine: ScriptedEngine, name: str) -> None:
    case = CASES[name]
    request = body(video_path, question=case.question, **case.fields)
    if case.video != "film":
        request["video"] = {"path": case.video}
    settings = Settings(data_dir=place / "data", video_dir=video_path.parent if case.video == "film" else place)
    async with over_asgi(settings, engine) as client:
        response = await client.post("/v1/answers", json=request)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (case.status, case.code, case.param)
    assert set(error) == {"message", "type", "param", "code"}
    assert case.names in error["message"]
    assert engine.calls == []


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("name", CASES)
def test_on_the_command_line(name: str) -> None:
    case = CASES[name]
    line = ["ask", case.video, case.question, *case.options, *case.line, "--engine", "scripted:A"]
    plain = CliRunner().invoke(cli, line)
    assert (plain.exit_code, plain.stdout) == (case.exit, "")
    assert case.names in plain.stderr
    assert plain.stderr.startswith("secondlook: ")
    assert plain.stderr.count("\n") == 1
    as_json = CliRunner().invoke(cli, [*line, "--json"])
    error = json.loads(as_json.stdout)["error"]
    assert as_json.exit_code == case.exit
    assert (error["code"], error["param"]) == (case.code, case.param)
    assert as_json.stderr == f"secondlook: {error['message']}\n"


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", None])
async def test_wrong_content_type(settings: Settings, engine: ScriptedEngine, kind: str | None) -> None:
    """Only HTTP has content types."""
    async with over_asgi(settings, engine) as client:
        headers = {"content-type": kind} if kind else {}
        response = await client.post("/v1/answers", content=b'{"question": "?"}', headers=headers)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (415, "unsupported_media_type", None)
    assert ErrorDetail.from_exception(UnsupportedMediaType("")).spec.exit_code == 2
