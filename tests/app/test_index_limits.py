"""What an index may take, and what it does when that is reached."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from agents.engines.scripted import ScriptedEngine
from app.indexes.settings import IndexSettings
from app.settings import Settings
from tests.app.conftest import over_asgi
from tests.app.indexing import CLIPS, PADDING, build, captioner, error, with_index

pytestmark = pytest.mark.anyio


@pytest.fixture
def engine() -> ScriptedEngine:
    return captioner()


async def test_only_so_many_are_built_at_once(settings: Settings, film: Path, tmp_path: Path) -> None:
    films = [tmp_path / f"{number}.mp4" for number in range(3)]
    for number, each in enumerate(films):
        each.write_bytes(film.read_bytes() + PADDING * number)
    few = with_index(settings, max_builds=1, max_waiting=1).model_copy(update={"video_dir": tmp_path})
    async with over_asgi(few, captioner(pause=0.3)) as client:
        begun = [await client.post("/v1/indexes", json={"video": {"path": each.name}}) for each in films]
        assert [each.status_code for each in begun] == [202, 202, 429]
        assert begun[2].json()["error"]["code"] == "too_many_runs"
        assert "retry-after" in begun[2].headers
        first, second = [(await client.get(f"/v1/indexes/{each.json()['id']}")).json() for each in begun[:2]]
        assert (first["status"], second["status"]) == ("building", "queued")


async def test_a_film_has_so_many_clips(settings: Settings, engine: ScriptedEngine, film: Path) -> None:
    async with over_asgi(with_index(settings, max_clips=CLIPS - 1), engine) as client:
        response = await client.post("/v1/indexes", json={"video": {"path": str(film)}})
    assert error(response) == (400, "too_many_clips", "video")
    async with over_asgi(with_index(settings, max_clips=CLIPS), engine) as client:
        assert (await build(client, film))["status"] == "complete"


async def test_a_tenants_indexes_take_so_many_bytes(
    settings: Settings, engine: ScriptedEngine, film: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(film.read_bytes() + PADDING)
    shutil.copy(film, tmp_path / "first.mp4")
    little = with_index(settings, max_bytes=1).model_copy(update={"video_dir": tmp_path})
    async with over_asgi(little, engine) as client:
        assert (await build(client, tmp_path / "first.mp4"))["status"] == "complete"
        response = await client.post("/v1/indexes", json={"video": {"path": "other.mp4"}})
        assert error(response)[:2] == (413, "index_full")


async def test_an_index_holds_so_many_lines(settings: Settings, film: Path) -> None:
    async with over_asgi(with_index(settings, max_lines=3, at_once=1), captioner()) as client:
        shown = await build(client, film)
        assert (shown["status"], shown["error"]["code"]) == ("failed", "index_full")
        assert shown["levels"][0]["captioned"] == 3
        assert error(await client.post("/v1/search", json={"query": "x", "k": 101}))[0] == 400


@pytest.mark.parametrize("name", list(IndexSettings.model_fields))
def test_every_setting_is_described_and_no_limit_is_negative(name: str) -> None:
    field = IndexSettings.model_fields[name]
    assert field.description
    if field.annotation in (int, float):
        with pytest.raises(ValidationError):
            IndexSettings.model_validate({name: -1})


def test_index_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDLOOK_INDEX__CLIP_SECONDS", "5")
    monkeypatch.setenv("SECONDLOOK_INDEX__MAX_BUILDS", "3")
    settings = Settings()
    assert (settings.index.captioning.clip_seconds, settings.index.max_builds, settings.index.fps) == (5, 3, 1)
