"""The wheel holds the service, the demo model and its videos, but not the code that trained the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
TRAINING = "agents/demo/training/"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel, as a folder."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "content")
    return folder / "content"


def test_all_but_the_training_is_in_the_wheel(unpacked: Path) -> None:
    packed = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    files = {path for name in ("app", "agents", "tools") for path in (ROOT / name).rglob("*") if path.is_file()}
    here = {path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"}
    training = {path for path in here if path.startswith(TRAINING)}
    assert training and not training & packed
    assert here - training <= packed
    for name in ("demo/weights/model.safetensors", "demo/weights/tokenizer.json", "presets.toml", "profiles.toml"):
        assert f"agents/{name}" in packed


def test_the_demo_makes_videos_without_training_and_torch(unpacked: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise ImportError('torch is not installed')")
    environment = {**os.environ, "PYTHONPATH": f"{unpacked}{os.pathsep}{blocked}"}
    command = [sys.executable, "-m", "agents.demo", "video", "21", str(tmp_path / "video.mp4")]
    subprocess.run(command, cwd=unpacked, env=environment, check=True)
    assert json.loads((tmp_path / "video.json").read_text())["seed"] == 21
    refused = subprocess.run([*command[:3], "train"], cwd=unpacked, env=environment, capture_output=True, text=True)
    assert "No such command 'train'" in refused.stderr
