"""Tiny models on disk, and a stub of a model server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.engines.local.checkpoint import Checkpoint
from agents.engines.transformers import TransformersEngine
from tests.agents.engines.stub import Answer, Stub, models, serving, talkative
from tests.agents.engines.tiny import save_tiny_llava, save_tiny_qwen

Serve = Callable[..., Stub]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower on several cores than on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a stub: serve(answer, owner="vllm")."""
    with ExitStack() as running:

        def start(answer: Callable[[dict[str, Any]], Answer] = talkative, owner: str = "vllm") -> Stub:
            return running.enter_context(serving(Stub(answer, models(owner))))

        yield start
