"""Two real servers for the whole run, and videos that the demo model knows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from agents.demo import WEIGHTS
from agents.demo.encoder import encode_video
from agents.demo.generator import TEST_FROM, make_video
from agents.demo.questions import DemoQuestion, ask_about
from tests.vllm.install import install, installed, python
from tests.vllm.server import FLAGS, Server
from tests.vllm.service import serving
from tests.vllm.tiny_qwen import save_tiny_qwen

_VIDEOS = 20
_A_VIDEO = 5  # questions about each video


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, all in one loop, so that fixtures may outlive them."""
    return "asyncio"


@pytest.fixture(scope="session")
def _starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Both servers start side by side; whoever needs one waits for it."""
    if not installed():
        install()
    folder = tmp_path_factory.mktemp("vllm")
    save_tiny_qwen(folder / "qwen")
    demo = Server(python(), WEIGHTS, folder / "demo.log")
    tools = {"--enable-auto-tool-choice": None, "--tool-call-parser": "hermes"}
    flags = {**FLAGS, **tools, "--max-model-len": "4096"}
    qwen = Server(python(), folder / "qwen", folder / "qwen.log", name="tiny-qwen3-vl", flags=flags)
    with _running(demo), _running(qwen):
        yield demo, qwen


@contextmanager
def _running(server: Server) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _demo(_starting: tuple[Server, Server]) -> Server:
    _starting[0].wait()
    return _starting[0]


@pytest.fixture(scope="session")
def _qwen(_starting: tuple[Server, Server]) -> Server:
    _starting[1].wait()
    return _starting[1]


@pytest.fixture(scope="session")
async def service(
    _demo: Server, videos: list[tuple[Path, list[DemoQuestion]]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one service in front of the server with the demo model. Whoever uses it uses `demo` too."""
    async with serving(_demo, videos[0][0].parent, tmp_path_factory.mktemp("service")) as client:
        yield client


@pytest.fixture
def demo(_demo: Server) -> Server:
    """A healthy server with the demo model."""
    return _healthy(_demo)


@pytest.fixture
def qwen(_qwen: Server) -> Server:
    """A healthy server with a tiny Qwen3-VL."""
    return _healthy(_qwen)


def _healthy(server: Server) -> Server:
    if not server.healthy():  # a test before this one hurt it
        server.restart()
    server.mark()
    return server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the servers logged meanwhile."""
    report = yield
    if report.failed:
        servers = {each for each in getattr(item, "funcargs", {}).values() if isinstance(each, Server)}
        report.sections += [(f"log of the {server.name} server", server.tail()) for server in servers]
    return report


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, list[DemoQuestion]]]:
    """Videos of the range that nobody trained on, encoded, each with questions about it."""
    folder = tmp_path_factory.mktemp("films")
    made = []
    for seed in range(TEST_FROM + 500, TEST_FROM + 500 + _VIDEOS):
        video = make_video(seed)
        path = folder / f"{seed}.mp4"
        encode_video(video, path)
        made.append((path, ask_about(video, _A_VIDEO)))
    return made
