"""Files: each its tenant's own, each content kept once, nothing that was acknowledged lost, nothing else left."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import SecretStr
from sqlalchemy import func, select

from agents.engines.scripted import ScriptedEngine
from app.access.caller import LOCAL, Caller, Quota
from app.db.session import Database
from app.db.tables import BlobRecord, FileRecord
from app.errors import NotFound, StorageFull, StorageUnavailable, TooLarge
from app.files.blobs import BlobBackend, BlobStore, LocalBlobBackend, RemoteBlobBackend, open_blob_backend
from app.files.schemas import ExpiresAfter, UploadOptions
from app.files.store import FileStore
from app.files.upload import UploadSpool
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import body, over_asgi, over_socket
from tools.video.probe import file_stamp

pytestmark = pytest.mark.anyio
ACME, OTHER = Caller("acme", "k1"), Caller("other", "k2")
DAY = 24 * 3600.0
FACTS: dict[str, Any] = {}
PLAIN = UploadOptions()


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class House:
    """A library with everything that it stands on."""

    def __init__(self, folder: Path, shelf: BlobBackend | None = None, room: int = 10**9, spare: int = 0) -> None:
        self.folder = folder
        self.shelf = shelf or LocalBlobBackend(folder / "videos")
        self.records = Database(f"sqlite:///{folder / 'records.sqlite'}")
        self.records.open()
        self.blobs = BlobStore(self.shelf, folder / "cache", room)
        self.clock = Clock()
        self.library = FileStore(self.records, self.blobs, UploadSpool(folder / "incoming", spare), 10**6, self.clock)

    async def add(self, content: bytes, caller: Caller = ACME, wish: UploadOptions = PLAIN) -> FileRecord:
        """Store a content."""
        async with self.library.receive(caller) as arriving:
            arriving.write(content)
            return await self.library.add(arriving.part, FACTS, wish, caller)

    async def read(self, file: FileRecord, caller: Caller = ACME) -> bytes:
        """The content of a file."""
        async with self.library.open(file.id, caller) as path:
            return path.read_bytes()

    async def counts(self) -> tuple[int, int, int]:
        """Files in the records, contents in the records, contents on the shelf."""
        query = select(select(func.count()).select_from(FileRecord).scalar_subquery(), func.count(BlobRecord.name))
        files, blobs = await self.records.read(lambda session: session.execute(query).one())
        return files, blobs, len(self.shelf.names())


def remote() -> RemoteBlobBackend:
    """A bucket in memory."""
    shelf = open_blob_backend(f"memory://{uuid4().hex}/films", Path("/nowhere"))
    assert isinstance(shelf, RemoteBlobBackend)
    return shelf


@pytest.fixture(params=["folder", "bucket"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, remote() if request.param == "bucket" else None)
    yield house
    house.records.close()


async def test_a_content_is_kept_once_and_goes_with_its_last_file(house: House) -> None:
    mine, again, theirs = await house.add(b"film"), await house.add(b"film"), await house.add(b"film", OTHER)
    assert len({mine.id, again.id, theirs.id}) == 3
    assert await house.counts() == (3, 1, 1)
    await house.library.delete(mine.id, ACME)
    await house.library.delete(again.id, ACME)
    assert await house.counts() == (1, 1, 1)
    assert await house.read(theirs, OTHER) == b"film"
    await house.library.delete(theirs.id, OTHER)
    assert await house.counts() == (0, 0, 0)


async def test_others_files_do_not_exist(house: House) -> None:
    file = await house.add(b"film")
    for attempt in (house.library.get, house.library.delete):
        with pytest.raises(NotFound):
            await attempt(file.id, OTHER)
    with pytest.raises(NotFound):
        await house.read(file, OTHER)
    assert await house.library.page(OTHER, limit=9, after=None, order="asc", purpose=None) == ([], False)
    with pytest.raises(NotFound):
        await house.library.page(OTHER, limit=9, after=file.id, order="asc", purpose=None)
    assert await house.read(file) == b"film"


async def test_many_at_once_neither_lose_nor_leave_a_content(house: House) -> None:
    async def come_and_go(turn: int) -> FileRecord | None:
        caller = (ACME, OTHER)[turn % 2]
        file = await house.add(b"film", caller)
        if turn % 5:
            await house.library.delete(file.id, caller)
            return None
        assert await house.read(file, caller) == b"film"
        return file

    stayed = [file for file in await asyncio.gather(*map(come_and_go, range(40))) if file]
    assert await house.counts() == (8, 1, 1)
    for file in stayed:
        assert await house.read(file, Caller(file.tenant, "k")) == b"film"


async def test_what_is_removed_while_it_is_read_stays_until_then(house: House) -> None:
    file = await house.add(b"film")
    async with house.library.open(file.id, ACME) as first, house.library.open(file.id, ACME):
        await house.library.delete(file.id, ACME)
        assert first.read_bytes() == b"film"
        assert len(house.shelf.names()) == 1
    assert await house.counts() == (0, 0, 0)
    assert not list((house.folder / "cache").glob("*"))


async def test_a_file_goes_when_its_time_is_over(house: House) -> None:
    wish = UploadOptions(expires_after=ExpiresAfter(anchor="created_at", seconds=3600))
    brief = await house.add(b"brief", wish=wish)
    kept = await house.add(b"kept", Caller("acme", "k", quota=Quota(file_seconds=DAY)))
    for_ever = await house.add(b"for ever", Caller("acme", "k", quota=Quota(file_seconds=None)))
    now = house.clock.now
    assert [each.expires_at for each in (brief, kept, for_ever)] == [now + 3600, now + DAY, None]
    house.clock.now += 3600
    with pytest.raises(NotFound):
        await house.read(brief)
    assert (await house.counts())[0] == 3
    await house.library.sweep()
    assert await house.counts() == (2, 2, 2)
    house.clock.now += 1000 * DAY
    await house.library.sweep()
    assert await house.counts() == (1, 1, 1)
    assert await house.read(for_ever) == b"for ever"


async def test_the_shorter_of_two_times_counts() -> None:
    wish = UploadOptions(expires_after=ExpiresAfter(anchor="created_at", seconds=7200))
    assert wish.expires_at(10.0, 3600.0) == 3610.0
    assert wish.expires_at(10.0, 36000.0) == 7210.0
    assert UploadOptions().expires_at(10.0, None) is None


async def test_a_tenant_stores_no_more_than_its_quota(house: House) -> None:
    small = Caller("acme", "k", quota=Quota(storage_bytes=10))
    first = await house.add(b"123456", small)
    with pytest.raises(TooLarge, match="Only 4 bytes") as caught:
        await house.add(b"12345", small)
    assert caught.value.code == "storage_quota_exceeded"
    await house.add(b"1234", small)
    await house.add(b"12345", OTHER)
    await house.library.delete(first.id, ACME)
    await house.add(b"123456", small)


async def test_uploads_at_once_share_the_quota_while_they_arrive(house: House) -> None:
    small = Caller("acme", "k", quota=Quota(storage_bytes=10))
    async with house.library.receive(small) as one, house.library.receive(small) as two:
        one.write(b"123456")
        with pytest.raises(TooLarge):
            two.write(b"12345")
        two.write(b"1234")
    async with house.library.receive(small) as three:
        three.write(b"1234567890")  # the others were given up, so there is room again


async def test_the_quota_holds_for_those_who_began_before_it_was_full(house: House) -> None:
    small = Caller("acme", "k", quota=Quota(storage_bytes=10))
    async with house.library.receive(small) as slow:
        await house.add(b"1234567890", small)
        slow.write(b"12345")
        with pytest.raises(TooLarge):
            await house.library.add(slow.part, FACTS, UploadOptions(), small)
    assert await house.counts() == (1, 1, 1)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_have_everything_once_and_in_order(house: House, order: Any) -> None:
    added = []
    for turn in range(7):
        house.clock.now += turn % 3 == 0
        added.append(await house.add(b"film", wish=UploadOptions(purpose="vision" if turn % 2 else "user_data")))
    found: list[FileRecord] = []
    more = True
    while more:
        after = found[-1].id if found else None
        page, more = await house.library.page(ACME, limit=3, after=after, order=order, purpose=None)
        assert 1 <= len(page) <= 3
        found += page
    assert {each.id for each in found} == {each.id for each in added}
    moments = [each.created_at for each in found]
    assert moments == sorted(moments, reverse=order == "desc")
    only, more = await house.library.page(ACME, limit=3, after=None, order=order, purpose="vision")
    assert (len(only), more) == (3, False)


async def test_what_no_record_knows_is_tidied_away_once_it_is_old(tmp_path: Path) -> None:
    house = House(tmp_path)
    kept = await house.add(b"kept")
    young, old = (tmp_path / "videos" / name for name in ("young", "old"))
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 3700,) * 2)
    await house.library.remove_orphans()
    assert set(house.shelf.names()) == {kept.blob, "young"}
    house.records.close()


async def test_a_record_whose_content_is_gone_is_an_error_of_ours(house: House) -> None:
    file = await house.add(b"film")
    house.shelf.remove(file.blob)
    with pytest.raises(StorageUnavailable):
        await house.read(file)


async def test_what_lies_elsewhere_is_fetched_once_and_kept_within_a_bound(tmp_path: Path) -> None:
    house = House(tmp_path, remote(), room=10)
    first, second = await house.add(b"1111111"), await house.add(b"2222222")
    fetched = 0
    get_file = MemoryFileSystem.get_file

    class Counting(MemoryFileSystem):  # type: ignore[misc]
        """Counts what is fetched."""

        def get_file(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal fetched
            fetched += 1
            time.sleep(0.02)
            return get_file(self, *args, **kwargs)

    shelf = house.shelf
    assert isinstance(shelf, RemoteBlobBackend)
    house.blobs._shelf = RemoteBlobBackend(Counting(), shelf.root)
    assert set(await asyncio.gather(*(house.read(first) for _ in range(5)))) == {b"1111111"}
    async with house.library.open(first.id, ACME) as path:
        before = file_stamp(path)
        await house.read(first)
        assert file_stamp(path) == before  # or whoever looks at the video would take it for another
    assert fetched == 1
    async with house.library.open(first.id, ACME), house.library.open(second.id, ACME):
        assert len(list((tmp_path / "cache").iterdir())) == 2  # both are needed now, whatever the bound
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) == 7
    house.records.close()


async def test_half_uploads_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    dead = tmp_path / "dead.part"  # the system has dropped the lock of whoever wrote it
    dead.write_bytes(b"half")
    incoming = UploadSpool(tmp_path, 0)
    with incoming.file() as mine:
        UploadSpool(tmp_path, 0).sweep()
        assert list(tmp_path.iterdir()) == [mine.path]
    assert not list(tmp_path.iterdir())


async def test_a_full_disk_is_told_and_nothing_stays(tmp_path: Path) -> None:
    """The operating system itself refuses the write: by the limit on the size of a file."""
    house = House(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StorageFull):
            await house.add(bytes(300_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert await house.counts() == (0, 0, 0)
    assert not list((tmp_path / "incoming").iterdir())
    await house.add(bytes(300_000))
    house.records.close()


async def test_room_on_the_disk_is_left_for_the_rest(
    settings: Settings, engine: ScriptedEngine, video_path: Path
) -> None:
    greedy = settings.model_copy(update={"min_free_bytes": 2**60})
    async with over_asgi(greedy, engine) as client:
        response = await client.post("/v1/files", files={"file": video_path.read_bytes()})
        assert (response.status_code, response.json()["error"]["code"]) == (507, "storage_full")
        assert (await client.post("/v1/answers", json=body(video_path))).status_code == 200


class BrokenFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A place that takes nothing."""

    def put_file(self, *_: Any, **__: Any) -> None:
        raise ConnectionResetError

    def get_file(self, *_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "no")


async def test_a_storage_that_fails_is_the_operators_matter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house = House(tmp_path, RemoteBlobBackend(BrokenFileSystem(), uuid4().hex))
    with pytest.raises(StorageUnavailable):
        await house.add(b"film")
    assert await house.counts() == (0, 0, 0)
    assert "the storage of files fails" in caplog.text
    house.records.close()


async def test_over_http_in_openais_form(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    async with over_asgi(settings, engine) as client:
        fields = {"purpose": "vision", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        content = video_path.read_bytes()
        sent = [await client.post("/v1/files", files={"file": ("a.mp4", content)}, data=fields) for _ in range(3)]
        files = [response.json() for response in sent]
        assert all(each["expires_at"] == each["created_at"] + 3600 for each in files)
        first = (await client.get("/v1/files", params={"limit": 2, "order": "asc"})).json()
        assert (first["object"], first["has_more"], first["data"]) == ("list", True, files[:2])
        assert (first["first_id"], first["last_id"]) == (files[0]["id"], files[1]["id"])
        rest = (await client.get("/v1/files", params={"after": first["last_id"], "order": "asc"})).json()
        assert (rest["data"], rest["has_more"]) == (files[2:], False)
        assert (await client.get("/v1/files", params={"purpose": "evals"})).json()["data"] == []
        for wrong in ({"limit": 0}, {"limit": 10_001}, {"order": "up"}, {"purpose": "fun"}):
            assert (await client.get("/v1/files", params=wrong)).status_code == 400
        assert (await client.get("/v1/files", params={"after": "file_" + "0" * 32})).status_code == 404
        saved = await client.get(f"/v1/files/{files[0]['id']}/content")
        assert (saved.content, saved.headers["x-content-type-options"]) == (content, "nosniff")
        part = await client.get(f"/v1/files/{files[0]['id']}/content", headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, content[10:20])


async def test_tenants_over_http(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    """What one tenant stores is to another what was never there, word for word."""
    app = create_app(settings.model_copy(update={"api_key": SecretStr("x" * 20)}), engine)
    async with app.router.lifespan_context(app):
        keys = app.state.service.keys
        mine, theirs = ({"authorization": f"Bearer {keys.create(name).secret}"} for name in ("acme", "other"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            stored = [
                (await client.post("/v1/files", files={"file": video_path.read_bytes()}, headers=headers)).json()
                for headers in (mine, theirs)
            ]
            assert stored[0]["id"] != stored[1]["id"]
            assert {**stored[0], "id": "", "created_at": 0, "expires_at": 0} == {
                **stored[1],
                "id": "",
                "created_at": 0,
                "expires_at": 0,
            }
            listed = (await client.get("/v1/files", headers=theirs)).json()
            assert [each["id"] for each in listed["data"]] == [stored[1]["id"]]
            for file_id, there in ((stored[0]["id"], True), ("file_" + "0" * 32, False)):
                asked = await client.post("/v1/answers", json=body(video_path, video=file_id), headers=theirs)
                assert asked.status_code == 404, there
                for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
                    response = await client.request(method, f"/v1/files/{file_id}{path}", headers=theirs)
                    assert response.status_code == 404
                    assert (
                        response.json()["error"]["message"].replace(file_id, "ID").startswith("There is no file 'ID'")
                    )
            assert (await client.get(f"/v1/files/{stored[0]['id']}", headers=mine)).status_code == 200


async def test_fifty_uploads_at_once(settings: Settings, engine: ScriptedEngine, video_path: Path) -> None:
    """Over a real socket, in small pieces, all of them under way at the same time."""
    content, together = video_path.read_bytes(), asyncio.Barrier(50)

    async def pieces() -> AsyncIterator[bytes]:
        head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        yield head + content[:5000]
        await together.wait()
        for start in range(5000, len(content), 5000):
            yield content[start : start + 5000]
        yield b"\r\n--cut--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=cut"}
    async with over_socket(settings, engine) as client:
        sent = await asyncio.gather(*(client.post("/v1/files", content=pieces(), headers=headers) for _ in range(50)))
        assert [response.status_code for response in sent] == [200] * 50
        assert len((await client.get("/v1/files")).json()["data"]) == 50
    assert len(list((settings.data_dir / "videos").iterdir())) == 1
    assert not list((settings.data_dir / "incoming").iterdir())


async def test_an_upload_takes_no_memory_of_its_size(tmp_path: Path) -> None:
    """What is written is on the disk, not in a buffer, at every moment."""
    house = House(tmp_path)
    async with house.library.receive(LOCAL) as arriving:
        for turn in range(1, 20):
            arriving.write(bytes(777))
            assert arriving.part.path.stat().st_size == turn * 777
    house.records.close()
