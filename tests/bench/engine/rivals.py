"""its_hub, installed into an environment of its own and asked for votes."""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".venv-rival"
WANTED = "its_hub[lm]==1.2.0"


@dataclass(frozen=True, slots=True)
class Vote:
    """What its_hub returns: the reply that won, all replies, the seconds it took and the tokens it was billed."""

    seconds: float
    chosen: str
    texts: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int


def install() -> None:
    """Install it, unless it is there."""
    python = FOLDER / "bin" / "python"
    if not python.exists():
        venv.create(FOLDER, with_pip=True)
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", WANTED], check=True)


def votes(jobs: Sequence[dict[str, Any]]) -> list[Vote]:
    """The votes on all jobs (`rival.py` says what they are), one after another, from one process."""
    script = str(Path(__file__).with_name("rival.py"))
    lines = "".join(json.dumps(job) + "\n" for job in jobs)
    done = subprocess.run(
        [str(FOLDER / "bin" / "python"), script], input=lines, capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [Vote(**{**each, "texts": tuple(each["texts"])}) for each in found]
