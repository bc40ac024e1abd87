"""Every setting reaches what it is for."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr, ValidationError

from agents.engines.scripted import ScriptedEngine
from app.access.caller import LOCAL, Quota
from app.answers.schemas import VideoInput
from app.files.blobs import RemoteBlobBackend, open_blob_backend
from app.settings import Settings
from app.videos import VideoLoader
from tests.app.conftest import always, body, over_asgi
from tools.video.decoders import InProcessDecoder
from tools.video.video import Video


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDLOOK_MAX_RUNS", "7")
    monkeypatch.setenv("SECONDLOOK_VIDEO_DIR", "/films")
    monkeypatch.setenv("SECONDLOOK_ENGINE_KEY", "sesame")
    settings = Settings()
    assert (settings.max_runs, settings.video_dir) == (7, Path("/films"))
    assert settings.engine_key == SecretStr("sesame")
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.startswith("max_")])
def test_no_limit_can_be_negative(name: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({name: -1})


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_video_bytes", 100),
        ("max_video_seconds", 10),
        ("max_video_pixels", 1000),
        ("max_video_frames", 100),
        ("max_video_work", 1000),
    ],
)
async def test_limits_of_a_video_reach_the_decoder(
    settings: Settings, engine: ScriptedEngine, video_path: Path, name: str, value: int
) -> None:
    async with over_asgi(settings.model_copy(update={name: value}), engine) as client:
        response = await client.post("/v1/answers", json=body(video_path))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "unreadable_video")
    assert name.replace("_video", "") in error["message"]


async def opened(videos: VideoLoader, source: VideoInput) -> Video:
    """The video, held and let go."""
    async with videos.open(source, LOCAL) as footage:
        assert isinstance(footage, Video)
        return footage


@pytest.mark.anyio
async def test_frames_are_cached_within_the_limit(settings: Settings, video_path: Path) -> None:
    videos = VideoLoader(settings.model_copy(update={"cache_bytes": 12345}), InProcessDecoder())
    first, second = [await opened(videos, VideoInput(path=str(video_path))) for _ in range(2)]
    assert first.cache is second.cache
    assert first.cache is not None
    assert first.cache.max_bytes == 12345


@pytest.mark.anyio
async def test_a_known_video_is_not_read_again_unless_it_changed(
    settings: Settings, video_path: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for path in paths:
        path.write_bytes(video_path.read_bytes())
    one, two = (VideoInput(path=str(path)) for path in paths)
    videos = VideoLoader(settings.model_copy(update={"video_dir": tmp_path, "known_videos": 1}), InProcessDecoder())
    first = await opened(videos, one)
    assert await opened(videos, one) is first
    os.utime(paths[0], (1, 1))
    changed = await opened(videos, one)
    assert changed is not first
    await opened(videos, two)
    assert await opened(videos, one) is not changed


@pytest.mark.anyio
async def test_files_are_kept_where_a_url_says(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    shelf = open_blob_backend(f"memory://{uuid4().hex}", settings.data_dir)
    assert isinstance(shelf, RemoteBlobBackend)
    elsewhere = settings.model_copy(update={"blobs": f"memory:/{shelf.root}", "blob_cache_bytes": 0})
    async with over_asgi(elsewhere, engine) as client:
        file = (await client.post("/v1/files", files={"file": video_path.read_bytes()})).json()
        assert len(shelf.names()) == 1
        answered = await client.post("/v1/answers", json=body(video_path, video=file["id"]))
        assert answered.json()["answer"] == "red"
        assert (await client.get(f"/v1/files/{file['id']}/content")).content == video_path.read_bytes()
        assert not list((settings.data_dir / "cache").iterdir())  # as the cache may keep nothing
        await client.delete(f"/v1/files/{file['id']}")
        assert shelf.names() == []


@pytest.mark.anyio
async def test_files_go_by_themselves(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    brief = settings.model_copy(update={"quota": Quota(file_seconds=0.2), "sweep_seconds": 0.05})
    async with over_asgi(brief, engine) as client:
        file = (await client.post("/v1/files", files={"file": video_path.read_bytes()})).json()
        assert file["expires_at"] is not None
        async with asyncio.timeout(30):
            while list((settings.data_dir / "videos").iterdir()):
                await asyncio.sleep(0.02)
        assert (await client.get("/v1/files")).json()["data"] == []


@pytest.mark.anyio
async def test_records_are_where_a_url_says(settings: Settings, engine: ScriptedEngine, tmp_path: Path) -> None:
    path = tmp_path / "other" / "place.sqlite"
    async with over_asgi(settings.model_copy(update={"records": f"sqlite:///{path}"}), engine):
        assert path.exists()
    assert not settings.data_dir.exists()


@pytest.mark.anyio
async def test_nobody_waits_longer_than_the_operator_says(settings: Settings, video_path: Path) -> None:
    engine = ScriptedEngine(always("A"), pause=0.5)
    async with over_asgi(settings.model_copy(update={"max_runs": 1, "max_wait_seconds": 0.1}), engine) as client:
        two = await asyncio.gather(*(client.post("/v1/answers", json=body(video_path)) for _ in range(2)))
        assert sorted(response.status_code for response in two) == [200, 429]


@pytest.mark.anyio
@pytest.mark.parametrize("public", [True, False])
async def test_metrics_may_be_public(settings: Settings, engine: ScriptedEngine, public: bool) -> None:
    secret = SecretStr("x" * 20)
    async with over_asgi(settings.model_copy(update={"api_key": secret, "open_metrics": public}), engine) as client:
        assert ((await client.get("/metrics")).status_code == 401) is not public


def test_a_part_of_the_quota_can_be_set_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDLOOK_QUOTA", '{"requests_per_minute": null}')
    monkeypatch.setenv("SECONDLOOK_QUOTA__STORAGE_BYTES", "5")
    assert Settings().quota == Quota(requests_per_minute=None, storage_bytes=5)


@pytest.mark.anyio
async def test_the_default_strategy_can_be_chosen(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    request = body(video_path)
    del request["strategy"]
    async with over_asgi(settings.model_copy(update={"strategy": "direct"}), engine) as client:
        response = await client.post("/v1/answers", json=request)
    assert response.json()["report"]["strategy"]["name"] == "direct"
