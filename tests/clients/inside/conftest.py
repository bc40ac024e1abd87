"""Hands the scene to the tests of a client. Runs in the client's own environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.clients.inside.scene import Question, Scene


@pytest.fixture(scope="session")
def scene() -> Scene:
    """What the environment names."""
    told = json.loads(Path(os.environ["SCENE"]).read_text())
    return Scene(**{**told, "questions": [Question(**each) for each in told["questions"]]})


@pytest.fixture(scope="session")
def question(scene: Scene) -> Question:
    """One question."""
    return scene.questions[0]
