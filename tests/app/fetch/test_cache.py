"""Copies of fetched videos: fetched once, seen by one tenant, bounded, never pulled away from who looks."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from app.errors import ApiError, BadRequest, FetchFailed, TooLarge
from app.fetch.cache import FetchCache, FetchCacheLimits
from app.fetch.client import FetchClient, FetchLimits
from app.fetch.policy import FetchPolicy, decode_data_url
from app.files.upload import UploadSpool
from tests.app.fetch.site import Answer, Site, running
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Home:
    """A site with two videos, and what was fetched from it into a folder."""

    def __init__(self, site: Site, folder: Path, keeping: FetchCacheLimits) -> None:
        self.site = site
        self.folder = folder
        self.clock = Clock()
        self.version = 1
        origin = FetchClient(FetchPolicy(private=[f"127.0.0.1:{site.port}"]), FetchLimits(1000, idle_seconds=2.0))
        self.fetched = FetchCache(origin, UploadSpool(folder, 0), keeping, self.clock)
        site.answers |= {"/film": self._video, "/other": Answer(b"other" * 10), "/slow": Answer(b"slow", pause=0.3)}

    def _video(self, head: str) -> Answer:
        tag = f'"{self.version}"'
        if f"If-None-Match: {tag}" in head:
            return Answer(status=304)
        return Answer(b"film %d" % self.version, headers={"ETag": tag})

    def url(self, path: str = "film") -> str:
        """Where one of the videos is."""
        return f"http://127.0.0.1:{self.site.port}/{path}"

    async def read(self, path: str = "film", tenant: str = "a", uuid: str | None = None) -> bytes:
        """Fetch, read and let go."""
        async with self.fetched.open(self.url(path), tenant, uuid) as file:
            return file.read_bytes()

    @property
    def files(self) -> list[Path]:
        """What lies in the folder."""
        return list(self.folder.iterdir())


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    """A home with room for 100 bytes, where copies are fresh for 60 seconds and kept for 600."""
    async with at_home(tmp_path, FetchCacheLimits(100, 60.0, 600.0, 50)) as made:
        yield made


@asynccontextmanager
async def at_home(folder: Path, keeping: FetchCacheLimits) -> AsyncIterator[Home]:
    """A home, empty in the end."""
    async with running() as site:
        made = Home(site, folder, keeping)
        yield made
        await made.fetched.close()
        assert made.files == []


async def test_a_second_question_fetches_nothing(home: Home) -> None:
    assert [await home.read() for _ in range(3)] == [b"film 1"] * 3
    assert len(home.site.requests) == 1


async def test_a_stale_copy_is_asked_about_and_replaced_if_it_changed(home: Home) -> None:
    await home.read()
    home.clock.now += 61
    assert await home.read() == b"film 1"
    assert 'If-None-Match: "1"' in home.site.requests[1]
    home.clock.now += 30
    await home.read()
    assert len(home.site.requests) == 2
    home.version = 2
    home.clock.now += 31
    async with home.fetched.open(home.url(), "a") as file:
        assert file.read_bytes() == b"film 2"
    assert len(home.files) == 1


async def test_a_copy_that_is_looked_at_outlives_its_replacement(home: Home) -> None:
    async with home.fetched.open(home.url(), "a") as old:
        home.version, home.clock.now = 2, home.clock.now + 61
        async with home.fetched.open(home.url(), "a") as new:
            assert (old.read_bytes(), new.read_bytes()) == (b"film 1", b"film 2")
        assert old.exists()
    assert not old.exists()
    assert new.exists()


async def test_tenants_share_nothing(home: Home) -> None:
    async with home.fetched.open(home.url(), "a") as one, home.fetched.open(home.url(), "b") as other:
        assert one != other
    await home.read(uuid=home.url())
    assert len(home.site.requests) == 3


async def test_what_the_caller_names_is_not_fetched_again_under_another_url(home: Home) -> None:
    await home.read("film", uuid="my film")
    home.version, home.clock.now = 2, home.clock.now + 500
    assert await home.read("other", uuid="my film") == b"film 1"
    assert await home.read("other", tenant="b", uuid="my film") == b"other" * 10
    assert len(home.site.requests) == 2


async def test_many_at_once_fetch_once(home: Home) -> None:
    assert await asyncio.gather(*(home.read("slow") for _ in range(20))) == [b"slow"] * 20
    assert len(home.site.requests) == 1


async def test_a_failure_is_told_to_all_who_wait_and_not_kept(home: Home) -> None:
    home.site.answers["/gone"] = Answer(status=404, pause=0.1)
    failed = await asyncio.gather(*(home.read("gone") for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in failed] == [FetchFailed] * 5
    assert len(home.site.requests) == 1
    home.site.answers["/gone"] = Answer(b"back")
    assert await home.read("gone") == b"back"


async def test_the_last_who_leaves_ends_the_download(home: Home) -> None:
    home.site.answers["/long"] = Answer(b"x" * 900, pause=0.05, pieces=900)
    first, second = (asyncio.ensure_future(home.read("long")) for _ in range(2))
    await asyncio.sleep(0.2)
    first.cancel()
    await asyncio.sleep(0.1)
    assert len(home.files) == 1
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await until(lambda: home.files == [] and home.site.left == 1)
    assert len(home.site.requests) == 1


async def test_copies_have_a_bound_but_for_those_that_are_looked_at(home: Home) -> None:
    for number in range(5):
        home.site.answers[f"/{number}"] = Answer(bytes([number]) * 40)
        await home.read(str(number))
    assert len(home.files) == 2
    await home.read("3")
    await home.read("0")
    assert len(home.site.requests) == 6
    await home.read("3")
    assert len(home.site.requests) == 6  # 4 was used longer ago
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(home.fetched.open(home.url(str(n)), "a")) for n in range(5)]
        assert [path.read_bytes()[0] for path in held] == list(range(5))
    assert len(home.files) == 2


async def test_a_video_larger_than_all_room_is_lent_once(home: Home) -> None:
    home.site.answers["/large"] = Answer(b"x" * 900)
    assert len(await home.read("large")) == 900
    assert home.files == []


async def test_what_nobody_uses_goes(home: Home) -> None:
    await home.read()
    home.clock.now += 599
    home.fetched.evict()
    assert len(home.files) == 1
    home.clock.now += 2
    home.fetched.evict()
    assert home.files == []


@pytest.mark.parametrize(
    "url",
    [
        "data:video/mp4;base64,ZmlsbQ==",
        "DATA:Video/MP4;codecs=avc1;base64,ZmlsbQ==",
        "data:application/octet-stream;base64,ZmlsbQ%3D%3D",
    ],
)
async def test_data_urls(home: Home, url: str) -> None:
    async with home.fetched.open(url, "a") as file:
        assert file.read_bytes() == b"film"
    assert home.files == []


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("data:video/mp4;base64," + base64.b64encode(b"x" * 51).decode(), TooLarge),
        ("data:video/mp4;base64," + "A" * 10**7, TooLarge),
        ("data:video/mp4,film", BadRequest),
        ("data:video/mp4;base64,???", BadRequest),
        ("data:video/mp4;base64,ZmlsbQ=", BadRequest),
        ("data:video/mp4;base64,%", BadRequest),
        ("data:video/mp4;base64,\u0661", BadRequest),
        ("data:text/html;base64,ZmlsbQ==", BadRequest),
        ("data:;base64,ZmlsbQ==", BadRequest),
        ("data:base64,ZmlsbQ==", BadRequest),
        ("data:", BadRequest),
        ("data:" + ";a=b" * 10**6, BadRequest),
        ("data:video/" + "a" * 10**6, BadRequest),
    ],
    ids=range(13),
)
async def test_bad_data_urls(home: Home, url: str, error: type[ApiError]) -> None:
    with pytest.raises(error):
        async with home.fetched.open(url, "a"):
            raise AssertionError
    assert home.files == []


def test_data_urls_just_within_their_bound() -> None:
    for size in (48, 49, 50):
        assert len(decode_data_url("data:video/mp4;base64," + base64.b64encode(b"x" * size).decode(), 50)) == size
