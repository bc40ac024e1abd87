"""`secondlook index` and `secondlook search`: the same indexes as the service's, words for people."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import cli
from app.indexes.schemas import HitList, IndexObject
from app.settings import Settings
from tests.app.conftest import over_asgi
from tests.app.indexes.indexing import SRT, captioner


@pytest.fixture(autouse=True)
def _own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECONDLOOK_DATA_DIR", str(tmp_path / "data"))


def call(*line: str) -> Result:
    return CliRunner().invoke(cli, line)


def run(*line: str) -> Result:
    result = call(*line)
    assert result.exit_code == 0, result.output
    return result


def index(video_path: Path, *more: str) -> Result:
    return run("index", str(video_path), "--engine", "scripted:a grey picture", *more)


def test_an_index_is_built_and_shown(video_path: Path) -> None:
    result = index(video_path)
    assert result.stdout.startswith("complete: idx_")
    assert "7 of 7 captioned" in result.stdout
    assert "8 calls" in result.stdout


def test_json_is_what_the_service_sends(video_path: Path) -> None:
    shown = IndexObject.model_validate_json(index(video_path, "--json").stdout)
    assert (shown.status, shown.current, shown.cost.calls) == ("complete", True, 8)
    again = IndexObject.model_validate_json(index(video_path, "--json").stdout)
    assert again == shown


def test_a_level_is_enough(video_path: Path) -> None:
    shown = IndexObject.model_validate_json(index(video_path, "--level", "10", "--json").stdout)
    assert [level.captioned for level in shown.levels] == [7, 0]
    assert shown.status == "partial"


def test_what_is_built_is_found(video_path: Path, tmp_path: Path) -> None:
    (tmp_path / "words.srt").write_text(SRT)
    index(video_path, "--subtitles", str(tmp_path / "words.srt"))
    found = run("search", "platform 47", "-k", "1").stdout
    assert "5.0–7.0" in found
    assert "Welcome to platform 47." in found
    hits = HitList.model_validate_json(run("search", "grey", "--video", str(video_path), "--json").stdout).data
    assert hits[0].text == "a grey picture"
    spoken = HitList.model_validate_json(run("search", "gap", "--source", "subtitle", "--start", "20", "--json").stdout)
    assert [hit.text for hit in spoken.data] == ["Mind the gap."]


def test_the_service_finds_what_the_command_built(video_path: Path, settings: Settings) -> None:
    index(video_path)

    async def ask() -> dict[str, object]:
        async with over_asgi(settings, captioner()) as client:
            found: dict[str, object] = (await client.post("/v1/search", json={"query": "grey", "k": 1})).json()
            return found

    data = asyncio.run(ask())["data"]
    assert isinstance(data, list)
    assert data[0]["text"] == "a grey picture"


def test_nothing_is_found_where_nothing_is() -> None:
    assert run("search", "anything").stdout == "Nothing was found.\n"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (["index", "/nowhere.mp4"], 3, "There is no video"),
        (["index", "{video}", "--level", "7"], 2, "has clips of 10.0, 60.0 seconds"),
        (["index", "{video}", "--subtitles", "/nowhere.srt"], 3, "cannot be read"),
        (["index", "{video}", "--subtitles", "{video}"], 3, "no subtitles"),
        (["search", ""], 2, "query"),
        (["search", "x", "--video", "/nowhere.mp4"], 3, "cannot be read"),
        (["search", "x", "--video", "{video}"], 3, "secondlook index"),
        (["search", "x", "--source", "rumour"], 2, "sources"),
        (["search", "x", "-k", "101"], 2, "100 hits"),
    ],
)
def test_what_is_wrong_is_said(video_path: Path, line: list[str], code: int, words: str) -> None:
    engine = ["--engine", "scripted:x"] if line[0] == "index" else []
    result = call(*(each.replace("{video}", str(video_path)) for each in line), *engine)
    assert (result.exit_code, words in " ".join(result.stderr.split())) == (code, True), result.output
    in_json = call(*(each.replace("{video}", str(video_path)) for each in line), *engine, "--json")
    assert json.loads(in_json.stdout)["error"]["message"]
