"""One setup for all clients, and a way to run a client's file in its own environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.install import ensure
from tests.clients.stage import Stage, staged

INSIDE = Path(__file__).parent / "inside"
_SECONDS = 600
_ALONE = ("-c", os.devnull, f"--rootdir={INSIDE}", f"--confcutdir={INSIDE}", "-p", "no:cacheprovider")

Play = Callable[[str, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them need clients that are not part of this project's environment."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.clients)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Services, keys, videos."""
    with staged(tmp_path_factory.mktemp("clients")) as made:
        yield made
        assert not (complaints := made.service.complaints() + made.slow.complaints()), complaints


@pytest.fixture(scope="session")
def scene(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What clients need to know, in a file."""
    path = tmp_path_factory.mktemp("scene") / "scene.json"
    path.write_text(json.dumps(stage.told()))
    return path


@pytest.fixture
def play(scene: Path, surroundings: dict[str, str]) -> Play:
    """Run a file of tests with a client's own interpreter; what it says is shown if one of them fails."""

    def run(client: str, file: str) -> None:
        command = [str(ensure(client)), "-m", "pytest", "--import-mode=importlib", *_ALONE, "-q", str(INSIDE / file)]
        environment = {**surroundings, "SCENE": str(scene)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    return run


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """The environment of a client: no settings of ours, no keys of the developer's, a home of its own, no network."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TZ")}
    return {**kept, "HOME": str(tmp_path), "NO_PROXY": "*", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
