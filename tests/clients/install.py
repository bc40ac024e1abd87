"""Install clients, each into an environment of its own, once: python -m tests.clients.install [NAME …]

Their versions are those that were seen to work: ranges here, exact ones in `locks`, which `make lock` writes.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter

FOLDER = Path(__file__).parents[2] / ".venv-clients"
_PYTEST = "pytest==9.*"  # runs the files in `inside`
_TORCH = "torch==2.13.*"
# What evaluating over HTTP imports. All that lmms_eval asks for is a hundred packages more, for models in process.
# It reaches into filelock 3.
_LMMS_EVAL = (
    "accelerate datasets decord evaluate filelock==3.* loguru openai==2.* pillow pytablewriter python-dotenv sacrebleu "
    "scikit-learn sympy tenacity tqdm-multiprocess transformers==5.*"
)


@dataclass(frozen=True, slots=True)
class Client:
    """What an environment holds. `alone`: packages without what they would like to have beside them."""

    wanted: tuple[str, ...]
    alone: tuple[str, ...] = ()


CLIENTS: Mapping[str, Client] = {
    "openai-1": Client(("openai==1.*", _PYTEST)),
    "openai-2": Client(("openai==2.*", _PYTEST)),
    "openai-3": Client(("openai==3.*", _PYTEST)),
    "schemathesis": Client(("schemathesis==4.32.*",)),
    "litellm": Client(("litellm==1.106.0", _PYTEST)),
    "langchain": Client(("langchain-openai==1.7.*", _PYTEST)),
    "its_hub": Client(("its_hub[lm]==1.2.*", _PYTEST)),
    "lmms_eval": Client((_TORCH, *_LMMS_EVAL.split()), alone=("lmms_eval==0.7.3",)),
    "guidellm": Client((_TORCH, "guidellm==0.8.*", "pillow")),
}


def main() -> None:
    """Install what is not there yet."""
    for name in sys.argv[1:] or CLIENTS:
        ensure(name)


def python(name: str) -> Path:
    """The interpreter of a client's environment."""
    return FOLDER / name / "bin" / "python"


def lock(name: str) -> Path:
    """The exact versions for a client's environment."""
    return Path(__file__).parent / "locks" / f"{name}.txt"


def ensure(name: str) -> Path:
    """Install a client unless it is there, complete and just as this file says; its interpreter."""
    stamp, recipe = FOLDER / name / ".installed", _recipe(name)
    if not stamp.exists() or stamp.read_text() != recipe:
        print(f"Installing {name} ...", end=" ", flush=True)
        began = perf_counter()
        _install(name, CLIENTS[name])
        stamp.write_text(recipe)
        print(f"{perf_counter() - began:.0f} s", flush=True)
    return python(name)


def _recipe(name: str) -> str:
    """Changes when the environment must be made anew."""
    client = CLIENTS[name]
    return sha256("\n".join((*client.wanted, "", *client.alone, lock(name).read_text("utf-8"))).encode()).hexdigest()


def _install(name: str, client: Client) -> None:
    if not python(name).exists():
        venv.create(FOLDER / name, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(python(name)), "-qq", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--constraint", str(lock(name)), *client.wanted], check=True)
    if client.alone:
        subprocess.run([*pip, "--no-deps", *client.alone], check=True)


if __name__ == "__main__":
    main()
