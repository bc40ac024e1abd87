"""Fetching from real servers: bounds, redirects, certificates, and what is said about us."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time

import pytest
import trustme

from app.errors import ApiError, ErrorDetail, FetchFailed, Forbidden, TooLarge
from app.fetch.client import FetchClient, FetchLimits, ResourceVersion
from app.fetch.policy import FetchPolicy
from tests.app.fetch.site import Answer, Site, moved, running

pytestmark = pytest.mark.anyio
HOST = "films.example"


async def here(host: str, port: int) -> list[str]:
    """Every name is this machine's."""
    assert host and port
    return ["127.0.0.1"]


def origin(site: Site, *more: int, trust: ssl.SSLContext | None = None, **bounds: float) -> FetchClient:
    """May fetch from a site, and from other ports of this machine, by the name HOST."""
    private = [f"{HOST}:{port}" for port in (site.port, *more)]
    limits = FetchLimits(**{"bytes": 1000, "idle_seconds": 0.5, "seconds": 5.0, **bounds})  # type: ignore[arg-type]
    return FetchClient(FetchPolicy(private=private), limits, resolve=here, trust=trust)


async def fetch(
    origin: FetchClient, url: str, known: ResourceVersion | None = None
) -> tuple[bytes, ResourceVersion | None]:
    """What came, and its version."""
    content = bytearray()

    async def write(chunk: bytes) -> None:
        content.extend(chunk)

    try:
        version = await origin.fetch(url, write, known)
    finally:
        await origin.close()
    return bytes(content), version


async def test_a_server_learns_nothing_but_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as site, running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        site.answers["/a%20film.mp4?token=1"] = Answer(b"film", headers={"ETag": '"1"', "Set-Cookie": "a=b"})
        url = f"HTTP://FILMS.example.:{site.port}/a%20film.mp4?token=1#second"
        content, version = await fetch(origin(site), url)
        assert (content, version) == (
            b"film",
            ResourceVersion(f"http://{HOST}:{site.port}/a%20film.mp4?token=1", '"1"'),
        )
        head, *headers = site.requests[0].strip().split("\r\n")
        assert head == "GET /a%20film.mp4?token=1 HTTP/1.1"
        assert sorted(headers) == [
            "Accept-Encoding: identity",
            "Accept: */*",
            f"Host: {HOST}:{site.port}",
            "User-Agent: secondlook",
        ]
        assert proxy.connections == 0


async def test_redirects_are_followed_three_times_and_forget_what_was_set() -> None:
    async with running() as site, running() as other:
        site.answers |= {
            "/1": Answer(status=301, headers={"Location": "/2", "Set-Cookie": "a=b"}),
            "/2": moved("3?x=1", 307),
            "/3?x=1": moved(f"http://{HOST}:{other.port}/4", 308),
            "/0": moved("/1"),
            "/loop": moved("/loop"),
            "/nowhere": Answer(status=302),
        }
        other.answers["/4"] = Answer(b"film")
        content, version = await fetch(origin(site, other.port), f"http://{HOST}:{site.port}/1")
        assert (content, version) == (b"film", ResourceVersion(f"http://{HOST}:{other.port}/4"))
        assert all("cookie" not in request.lower() for request in site.requests + other.requests)
        for path in ("/0", "/loop"):
            with pytest.raises(FetchFailed, match="more than 3 times"):
                await fetch(origin(site, other.port), f"http://{HOST}:{site.port}{path}")
        with pytest.raises(FetchFailed, match="more than 0 times"):
            await fetch(origin(site, redirects=0), f"http://{HOST}:{site.port}/1")
        with pytest.raises(FetchFailed, match="cannot be used"):
            await fetch(origin(site), f"http://{HOST}:{site.port}/nowhere")


async def test_size_is_bounded_by_what_is_promised_and_by_what_comes() -> None:
    async with running() as site:
        site.answers |= {
            "/exact": Answer(b"x" * 1000),
            "/promised": Answer(b"x" * 1001, pause=60),
            "/endless": Answer(b"x" * 10**6, pieces=1000, length=False),
        }
        assert len((await fetch(origin(site), f"http://{HOST}:{site.port}/exact"))[0]) == 1000
        for path in ("promised", "endless"):
            began = time.monotonic()
            with pytest.raises(TooLarge, match="1000 bytes"):
                await fetch(origin(site), f"http://{HOST}:{site.port}/{path}")
            assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(b"film" * 50, pause=0.1, pieces=50), "within 1 seconds"),
        (Answer(b"film", pause=2), "too slow"),
        (Answer(b"film" * 9, cut=5), "broke off"),
        (Answer(b"film", headers={"Content-Encoding": "gzip"}), "compressed"),
        (Answer(b"film", status=206), "status 206"),
        (Answer(b"film", status=304), "status 304"),
        (Answer(b"film", status=401), "status 401"),
        (Answer(b"film", status=503), "status 503"),
        (Answer(b"film", headers={"X": "y" * 200_000}), "broke off"),
        (Answer(b"film", status=99), "broke off"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_servers(answer: Answer, words: str) -> None:
    async with running() as site:
        site.answers["/"] = answer
        with pytest.raises(FetchFailed, match=words) as failed:
            await fetch(origin(site, seconds=1.0), f"http://{HOST}:{site.port}/")
    assert ErrorDetail.from_exception(failed.value).spec.status == 424


async def test_nobody_there() -> None:
    async with running() as site:
        pass
    with pytest.raises(FetchFailed, match="cannot be reached"):
        await fetch(origin(site), f"http://{HOST}:{site.port}/")


async def test_more_than_may_be_at_once_are_told_so() -> None:
    async with running() as site:
        site.answers["/"] = Answer(b"film", pause=0.4, pieces=4)
        shared = origin(site, connections=1, idle_seconds=0.6)

        async def one() -> str:
            try:
                await shared.fetch(f"http://{HOST}:{site.port}/", swallow)
            except ApiError as refusal:
                return ErrorDetail.from_exception(refusal).spec.code
            return "fetched"

        assert sorted(await asyncio.gather(one(), one())) == ["fetched", "too_many_runs"]
        await shared.close()


async def swallow(_: bytes) -> None:
    """Where what is fetched goes."""


async def test_certificates_are_checked_against_the_name() -> None:
    authority = trustme.CA()
    for name, accepted in ((HOST, True), ("other.example", False), ("127.0.0.1", False)):
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        async with running(trust=server) as site:
            site.answers |= {"/": Answer(b"film"), "/down": moved(f"http://{HOST}:{site.port}/")}
            url = f"https://{HOST}:{site.port}/"
            if accepted:
                assert (await fetch(origin(site, trust=client), url))[0] == b"film"
                with pytest.raises(Forbidden, match="https to http"):
                    await fetch(origin(site, trust=client), f"{url}down")
            else:
                with pytest.raises(FetchFailed, match="who it says"):
                    await fetch(origin(site, trust=client), url)
            with pytest.raises(FetchFailed, match="who it says"):
                await fetch(origin(site), url)


async def test_what_has_not_changed_is_not_sent_again() -> None:
    def answer(head: str) -> Answer:
        return Answer(status=304) if 'If-None-Match: "1"' in head else Answer(b"film", headers={"ETag": '"1"'})

    def dated(head: str) -> Answer:
        return (
            Answer(status=304) if "If-Modified-Since: now" in head else Answer(b"f", headers={"Last-Modified": "now"})
        )

    async with running() as site:
        site.answers |= {"/tagged": answer, "/dated": dated, "/moved": moved("/tagged")}
        for path, first in (("tagged", b"film"), ("dated", b"f"), ("moved", b"film")):
            url = f"http://{HOST}:{site.port}/{path}"
            content, version = await fetch(origin(site), url)
            assert content == first
            assert await fetch(origin(site), url, version) == (b"", None)
        assert "If-None-Match" not in site.requests[-2]


async def test_logs_tell_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as site:
        site.answers["/?token=secret"] = Answer(status=500)
        with caplog.at_level(logging.DEBUG), pytest.raises(FetchFailed) as failed:
            await fetch(origin(site), f"http://{HOST}:{site.port}/?token=secret")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("secondlook")]
    assert not any("secret" in message for message in [*ours, str(failed.value)])
