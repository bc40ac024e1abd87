"""Server-side request forgery: every way to name a machine that is not public is refused, and none is dialled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import pytest

from app.errors import BadRequest, FetchFailed, Forbidden
from app.fetch.client import AddressNotPublic, CheckedNetworkBackend, FetchClient, FetchLimits, Resolver, resolve_host
from app.fetch.policy import FetchPolicy, TargetUrl, is_public
from tests.app.fetch.site import Answer, canary, moved, reached, running

pytestmark = pytest.mark.anyio

NAMES = {
    "local.example": ["127.0.0.1"],
    "local6.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "scoped.example": ["fe80::1%lo"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "half.example": ["93.184.215.14", "127.0.0.1"],
    "half6.example": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"],
    "metadata.example": ["169.254.169.254"],
    "nowhere.example": [],
}

ADDRESSES = """
127.0.0.1 127.0.0.2 127.255.255.255 0.0.0.0 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1
100.100.100.200 169.254.169.254 169.254.170.2 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
[::1] [::] [0:0:0:0:0:0:0:1] [0000::0001] [::ffff:127.0.0.1] [::ffff:7f00:1] [::ffff:0:127.0.0.1] [::127.0.0.1]
[64:ff9b::127.0.0.1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:7f00:1::] [2001:db8::1]
[3fff::1] [fe80::1] [fec0::1] [fc00::1] [fd00:ec2::254] [ff02::1] [100::1] [5f00::1]
""".split()

NOTATIONS = """
127.1 127.0.1 127.0.0.01 0177.0.0.1 0177.1 0x7f.0.0.1 0x7f.0x0.0x0.0x1 0x7f000001 0x7F000001 2130706433 017700000001
0 0x 0x0 00 00000000 127.0.0.1. 127.0.0.1.. 127.0.0.1.0 1.2.3.4.127.0.0.1 256.256.256.256 localhost LOCALHOST localhost.
vllm host.docker.internal. ip6-localhost local.example LOCAL.example. local6.example mapped.example scoped.example
nat64.example half.example half6.example metadata.example nowhere.example
user@127.0.0.1 user:secret@local.example films.example@127.0.0.1 films.example%40127.0.0.1 127.0.0.1%00.films.example
127.0.0.1%2f.films.example %31%32%37.0.0.1 [::1%25lo] [::1%lo] [fe80::1%25lo] [::1 ::1 [127.0.0.1] [::1]x x[::1] []
[v1.fe80] [::ffff:127.1] ①②⑦.⓪.⓪.① 127。0。0。1 １２７.0.0.1 ١٢٧.٠.٠.١ ʟocalhost local\u200bhost
\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54 xn--
127.0.0.1\\@films.example films.example\\@127.0.0.1 127.0.0.1\\.films.example -films.example films..example .example
""".split()

URLS = """
//127.0.0.1:{port}/ http:127.0.0.1:{port}/ http:/127.0.0.1:{port}/ http:///127.0.0.1:{port}/ http:\\\\127.0.0.1:{port}/
http://127.0.0.1:{port}#@films.example/ http://127.0.0.1:{port}?@films.example/ http://:{port}/ http://@127.0.0.1:{port}/
http://127.0.0.1:{port}:80/ http://films.example:80:{port}/ http://127.0.0.1:+{port}/ http://127.0.0.1:0{port}/
http://films.example:22/ http://films.example:0/ http://films.example:65536/ http://films.example:-1/ https://[::1]:{port}/
ftp://127.0.0.1:{port}/ gopher://127.0.0.1:{port}/ dict://127.0.0.1:{port}/ rtsp://127.0.0.1:{port}/ s3://bucket/key
file:///etc/passwd unix:/run/docker.sock http+unix://%2Frun%2Fdocker.sock/ jar:http://127.0.0.1!/ blob:x javascript:1
concat:/etc/passwd|x subfile,,start,0,end,9,,:/etc/passwd ldap://127.0.0.1/ ws://127.0.0.1:{port}/ httpx://127.0.0.1/
""".split()
SPACED = [
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ ",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1:{port}/\r\nHost: films.example",
    "http://films.example\n.127.0.0.1:{port}/",
    "http://films.example/\x00",
    "ht\ntp://127.0.0.1:{port}/",
    "",
]
TABLE = [
    *(f"http://{host}:{{port}}/" for host in (*ADDRESSES, *NOTATIONS)),
    *URLS,
    *SPACED,
]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listens on every address of this machine."""
    with canary() as listening:
        yield listening


async def look_up(host: str, port: int) -> list[str]:
    """The made-up names, and for the rest what this machine says."""
    return NAMES[host] if host in NAMES else await resolve_host(host, port)


def open_to(port: int, *private: str, resolve: Resolver = look_up, **bounds: Any) -> FetchClient:
    """An origin that lets this port pass, so that nothing is refused for its port alone."""
    return FetchClient(
        FetchPolicy(ports=(80, 443, port), private=private), FetchLimits(10**6, **bounds), resolve=resolve
    )


async def swallow(_: bytes) -> None:
    """Where what is fetched goes."""


def test_the_table_is_long_and_without_repetition() -> None:
    assert len(set(TABLE)) == len(TABLE) >= 140


@pytest.mark.parametrize("url", TABLE)
async def test_is_refused(listener: socket.socket, url: str) -> None:
    port = listener.getsockname()[1]
    origin = open_to(port)
    with pytest.raises((BadRequest, Forbidden, FetchFailed)) as refusal:
        await origin.fetch(url.format(port=port), swallow)
    await origin.close()
    assert not reached(listener)
    assert not any(address in str(refusal.value) for found in NAMES.values() for address in found)


@pytest.mark.parametrize("to", [url for url in TABLE if url.isprintable() and url == url.strip()])
async def test_is_refused_as_a_redirect(listener: socket.socket, to: str) -> None:
    port = listener.getsockname()[1]
    async with running() as site:
        site.answers["/"] = moved(to.format(port=port).encode().decode("latin-1"))
        origin = open_to(port, f"127.0.0.1:{site.port}")
        with pytest.raises((BadRequest, Forbidden, FetchFailed)):
            await origin.fetch(f"http://127.0.0.1:{site.port}/", swallow)
        await origin.close()
        assert len(site.requests) <= 4
    assert not reached(listener)


async def test_a_listed_host_is_listed_with_its_port_and_under_this_name_only() -> None:
    async with running() as site:
        site.answers["/"] = Answer(b"film")
        origin = open_to(site.port, f"127.0.0.1:{site.port}")
        version = await origin.fetch(f"http://127.0.0.1:{site.port}/", swallow)
        assert version is not None
        for url in (f"http://127.0.0.2:{site.port}/", f"http://local.example:{site.port}/"):
            with pytest.raises((Forbidden, FetchFailed)):
                await origin.fetch(url, swallow)
        await origin.close()
        assert site.connections == 1


async def test_a_listed_address_may_be_of_version_six() -> None:
    async with running(host="::1") as site:
        site.answers["/"] = Answer(b"film")
        origin = open_to(site.port, f"[::1]:{site.port}")
        assert await origin.fetch(f"http://[0:0::1]:{site.port}/", swallow) is not None
        await origin.close()
        assert f"Host: [::1]:{site.port}\r\n" in site.requests[0]


class Recorder(httpcore.AsyncNetworkBackend):
    """A network that writes down whom it should connect to."""

    def __init__(self) -> None:
        self.dialled: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Nobody answers."""
        assert (port, timeout, local_address, socket_options) == (80, 1.0, None, None)
        self.dialled.append(host)
        raise httpcore.ConnectError("nobody")


async def test_a_name_is_looked_up_once_and_the_checked_addresses_are_dialled() -> None:
    """A server of names that answers differently the second time is never asked a second time."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(f"{host}:{port}")
        return ["93.184.215.14", "2606:2800:21f:cb07::1"] if len(asked) == 1 else ["127.0.0.1"]

    network = Recorder()
    dialler = CheckedNetworkBackend(FetchPolicy(), rebinding, network)
    with pytest.raises(httpcore.ConnectError):
        await dialler.connect_tcp("films.example", 80, 1.0)
    assert (asked, network.dialled) == (["films.example:80"], ["93.184.215.14", "2606:2800:21f:cb07::1"])
    with pytest.raises(AddressNotPublic):
        await dialler.connect_tcp("films.example", 80, 1.0)
    assert len(network.dialled) == 2


async def test_a_name_that_takes_for_ever_to_look_up_is_given_up() -> None:
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return [f"{host}:{port}"]

    with pytest.raises(httpcore.ConnectTimeout):
        await CheckedNetworkBackend(FetchPolicy(), slow).connect_tcp("films.example", 80, 0.05)


async def test_missing_and_private_names_are_told_in_the_same_words(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    origin = open_to(port)
    said = set()
    for host in ("local.example", "metadata.example", "nowhere.example", "half.example"):
        with pytest.raises(FetchFailed) as refusal:
            await origin.fetch(f"http://{host}:{port}/", swallow)
        said.add(str(refusal.value))
    assert len(said) == 1


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("films.example", True),
        ("a.b.films.example", True),
        ("notfilms.example", False),
        ("films.example.evil.example", False),
        ("93.184.215.14", False),
    ],
)
def test_domains(host: str, passes: bool) -> None:
    from_here = FetchPolicy(domains=("films.example", "*.films.example"))
    target = TargetUrl.parse(f"https://{host}/film.mp4")
    if passes:
        from_here.check(target)
    else:
        with pytest.raises(Forbidden):
            from_here.check(target)


def test_what_is_public() -> None:
    for address in (
        "93.184.215.14",
        "1.1.1.1",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::1",
    ):
        assert is_public(address)
    for address in ("", "example", "127.1", "1.1.1.1%1", "2606:4700::1%eth0", "1.1.1"):
        assert not is_public(address)
