"""Nothing outlives the guard: neither the program nor what it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agents.engines.vllm import guard

_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
_LINE = """
import os, subprocess, sys, time
from pathlib import Path
deep = int(sys.argv[1])
{deaf}
Path(sys.argv[2], str(os.getpid())).touch()
if deep:
    subprocess.Popen([sys.executable, __file__, str(deep - 1), sys.argv[2]], start_new_session=True)
time.sleep({seconds})
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def wait_until_dead(pids: list[int], seconds: float = 10.0) -> None:
    """Fails if one of them is still alive then."""
    end = time.monotonic() + seconds
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < end, f"{left} still run"
        time.sleep(0.02)


@contextmanager
def guarded(*command: str, grace: float = 5.0) -> Iterator[subprocess.Popen[bytes]]:
    """A program under a guard whose parent is this process."""
    arguments = (sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), str(grace), *command)
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def lineage(folder: Path, *, deaf: bool = False, seconds: float = 600.0) -> tuple[str, ...]:
    """A program, its child and its grandchild, each in a session of its own, and each with a file named by its pid."""
    script = folder / "lineage.py"
    script.write_text(_LINE.format(deaf=_DEAF if deaf else "", seconds=seconds))
    pids = folder / "pids"
    pids.mkdir()
    return (sys.executable, "-S", str(script), "2", str(pids))


def born(folder: Path, count: int = 3) -> list[int]:
    """The pids of a lineage, once all have begun."""
    end = time.monotonic() + 20
    while len(found := [int(each.name) for each in (folder / "pids").iterdir()]) < count:
        assert time.monotonic() < end, "they do not begin"
        time.sleep(0.02)
    return found


def test_it_ends_as_the_program_did() -> None:
    with guarded(sys.executable, "-S", "-c", "raise SystemExit(7)") as process:
        assert process.wait(10) == 7
    with guarded(sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)") as process:
        assert process.wait(10) == 128 + 9


def test_a_program_that_is_not_there_is_named() -> None:
    with guarded("/no/such/program") as process:
        assert process.wait(10) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b"cannot run /no/such/program: No such file or directory\n"


@pytest.mark.parametrize("deaf", [False, True], ids=["polite", "deaf"])
def test_told_to_stop_it_ends_all_generations(tmp_path: Path, deaf: bool) -> None:
    with guarded(*lineage(tmp_path, deaf=deaf), grace=0.3) as process:
        pids = born(tmp_path)
        began = time.monotonic()
        process.terminate()
        assert process.wait(10) == 128 + (signal.SIGKILL if deaf else signal.SIGTERM)
        assert not [pid for pid in pids if alive(pid)]
        assert (time.monotonic() - began >= 0.3) == deaf


def test_what_the_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    with guarded(*lineage(tmp_path)) as process:
        pids = born(tmp_path)
        first = next(pid for pid in pids if _parent(pid) == process.pid)
        os.kill(first, signal.SIGKILL)
        assert process.wait(10) == 128 + signal.SIGKILL
        assert not [pid for pid in pids if alive(pid)]


def test_the_program_ends_with_its_parent_however_that_dies(tmp_path: Path) -> None:
    command = lineage(tmp_path, deaf=True)
    parent = (
        "import os, subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-I', '-S', sys.argv[1], str(os.getpid()), '0.1', *sys.argv[2:]])\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", parent, guard.__file__, *command]) as process:
        pids = born(tmp_path)
        process.kill()
    wait_until_dead(pids)


def test_without_its_guard_the_program_dies(tmp_path: Path) -> None:
    with guarded(*lineage(tmp_path)) as process:
        first = next(pid for pid in born(tmp_path) if _parent(pid) == process.pid)
        process.kill()
        process.wait()
        wait_until_dead([first])
        for pid in born(tmp_path):  # further generations left its group: only the service could know them
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
