"""Tiny models on disk, and a stub of a model server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.engines.transformers.engine import TransformersEngine
from agents.engines.transformers.model import Checkpoint
from tests.agents.engines.stub import Answer, Json, Stub, StubServers, models, talkative
from tests.agents.engines.tiny import save_tiny_llava, save_tiny_qwen
from tests.agents.threads import one_thread as one_thread

Serve = Callable[..., Stub]


@pytest.fixture(scope="session", params=["llava", "qwen"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A tiny model of each family, loaded."""
    folder = tmp_path_factory.mktemp("models") / f"tiny-{request.param}"
    {"llava": save_tiny_llava, "qwen": save_tiny_qwen}[request.param](folder)
    return Checkpoint.load(str(folder), device="cpu")


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA as files."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    save_tiny_llava(folder)
    return folder


@pytest.fixture
def engine(checkpoint: Checkpoint) -> TransformersEngine:
    """An engine on a tiny model, with an empty memory."""
    return TransformersEngine(checkpoint)


@pytest.fixture(scope="session")
def servers() -> Iterator[StubServers]:
    """A server for all stubs."""
    with StubServers().open() as opened:
        yield opened


@pytest.fixture
def serve(servers: StubServers) -> Serve:
    """A new stub: serve(answer, owner="vllm")."""

    def start(answer: Callable[[Json], Answer] = talkative, owner: str = "vllm") -> Stub:
        return servers.add(Stub(answer, models(owner)))

    return start
