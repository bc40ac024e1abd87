"""Clients that programs are written with, each doing what its users do."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Play


@pytest.mark.parametrize("major", [1, 2, 3])
def test_openai(play: Play, major: int) -> None:
    play(f"openai-{major}", "with_openai.py")


def test_litellm(play: Play) -> None:
    play("litellm", "with_litellm.py")


def test_langchain(play: Play) -> None:
    play("langchain", "with_langchain.py")


def test_its_hub(play: Play) -> None:
    play("its_hub", "with_its_hub.py")
