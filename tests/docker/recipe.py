"""Reads the Dockerfile as Docker does: comments dropped, continued lines joined, stages told apart."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
Step = tuple[str, str]


def steps() -> list[Step]:
    """All instructions in order, each with what follows it."""
    lines = (ROOT / "docker" / "Dockerfile").read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    parts = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, rest in parts]


def stages() -> dict[str, list[Step]]:
    """The instructions of each stage, FROM included."""
    found: dict[str, list[Step]] = {}
    for name, rest in steps():
        if name == "FROM":
            found[rest.split()[-1]] = []
        found[list(found)[-1]].append((name, rest))
    return found


def value(stage: str, name: str) -> str:
    """What follows the one instruction of that name in a stage."""
    (only,) = [rest for each, rest in stages()[stage] if each == name]
    return only


def words(stage: str, name: str) -> list[str]:
    """The one instruction of that name in a stage, which must be in the exec form."""
    listed: list[str] = json.loads(value(stage, name).rpartition(" CMD ")[2] or value(stage, name))
    return listed
