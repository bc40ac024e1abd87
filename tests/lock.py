"""Write the locks: exact versions of all that is installed, for every extra and environment, on Python 3.11 to 3.13.

python -m tests.lock [NAME …]      (`make lock`; needs uv on the PATH)

A lock is a file of constraints: pip installs nothing because of it, so that it fits torch's CPU and CUDA builds alike
and any package index. It leaves out the CUDA libraries, which each CUDA build of torch pins for itself.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.clients.install import CLIENTS
from tests.clients.install import lock as client_lock
from tests.vllm.install import LOCK as VLLM_LOCK
from tests.vllm.install import WANTED as VLLM_WANTED

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "lock.txt"
EXTRAS = ("local", "decord", "dev", "otel", "postgres", "s3")
OLDEST_PYTHON = "3.11"
_CUDA = re.compile(r"(nvidia|cuda)-")
_HEADER = "# Exact versions of what was tested. Written by `make lock`; pip reads it with --constraint.\n"


def requirements() -> Mapping[Path, list[str]]:
    """What each lock must cover, by the lock's file."""
    asked = {LOCK: project_requirements(), VLLM_LOCK: list(VLLM_WANTED)}
    return asked | {client_lock(name): list(client.wanted) for name, client in CLIENTS.items()}


def project_requirements() -> list[str]:
    """All that pyproject.toml asks for: to build, to run, and for each locked extra."""
    pyproject: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = pyproject["project"]
    extras = [each for extra in EXTRAS for each in project["optional-dependencies"][extra]]
    return [*pyproject["build-system"]["requires"], *project["dependencies"], *extras]


def main() -> None:
    """Write all locks, or those whose path contains one of the words given."""
    for path, asked in requirements().items():
        name = path.relative_to(ROOT).as_posix()
        if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
            print(f"Resolving {name} ...", flush=True)
            path.parent.mkdir(exist_ok=True)
            path.write_text(_HEADER + resolve(asked), "utf-8")


def resolve(asked: list[str]) -> str:
    """The newest versions that fit together, one of each for all platforms and Python versions where that can be."""
    options = ["--universal", "--fork-strategy=fewest", f"--python-version={OLDEST_PYTHON}"]
    options += ["--no-header", "--no-annotate", "--no-emit-index-url", "--quiet"]
    with TemporaryDirectory() as folder:
        # What asks for one build of torch, such as 2.13.0+cpu, is content with its version.
        torch = Path(folder) / "torch.txt"
        torch.write_text("\n".join(each for each in asked if each.startswith("torch")))
        command = ["uv", "pip", "compile", *options, "--overrides", str(torch), "-"]
        done = subprocess.run(command, input="\n".join(asked), stdout=subprocess.PIPE, text=True, check=True)
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not _CUDA.match(line))


if __name__ == "__main__":
    main()
