"""Run a program and end it when the process that wants it dies, for whatever reason.

python guard.py PARENT GRACE PROGRAM ARGUMENT…

Runs as its own process between the two and imports nothing of this project. It ends the program on SIGTERM, or when the
process PARENT is gone: with SIGTERM, and after GRACE seconds with SIGKILL. All descendants of the program are killed
after it. Exits with the program's status. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)
_LOOK = 0.5  # seconds between two checks of the parent
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER: orphaned descendants become children of this process


def main() -> None:
    """Run the program until it exits, a SIGTERM arrives, or the parent is gone."""
    parent, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _prctl(_ADOPT_ORPHANS, 1)
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_prepare)
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")
    while program.poll() is None and os.getppid() == parent:
        caught = signal.sigtimedwait(_SIGNALS, _LOOK)
        if caught is not None and caught.si_signo == signal.SIGTERM:
            break
    status = _ended(program, grace)
    _sweep()
    sys.exit(status if status >= 0 else 128 - status)


def _prepare() -> None:
    """Runs in the child before exec: it must not inherit the blocked signals, nor outlive its guard."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _prctl(what: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(what, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _ended(program: subprocess.Popen[bytes], grace: float) -> int:
    """End the program if it is still running; return its exit status."""
    if program.poll() is None:
        program.terminate()
    end = time.monotonic() + grace
    while program.poll() is None and (left := end - time.monotonic()) > 0:
        signal.sigtimedwait((signal.SIGCHLD,), left)
    if program.poll() is None:
        program.kill()
    return program.wait()


def _sweep() -> None:
    """Kill what the program left behind. Children of a killed process become ours, and are next."""
    while True:
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it has exited meanwhile
                # "pid (name) state parent …"; the name may hold anything
                if int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                    yield int(folder.name)


if __name__ == "__main__":
    main()
