"""What a worker may still do: use so much memory and processor time and read one open file. No more."""

import contextlib
import math
import os
import resource
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.sandbox import kernel, landlock, seccomp

_FILES = 32
"""Descriptors a worker may hold; it needs its film, its stream, and decord a few."""
_NEW_NAMESPACES = 0x10000000 | 0x40000000 | 0x08000000
"""User, network and System V objects."""
_NOBODY_LISTENS = 9


@dataclass(frozen=True, slots=True)
class Allowance:
    """Bytes of memory on top of what a worker starts with, and seconds of processor time."""

    memory: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Fence:
    """Made once and raised in every worker. `opens`: the decoding library opens its file by itself."""

    filter: bytes | None
    opens: bool

    @classmethod
    def make(cls, opens: bool) -> "Fence":
        """Without a filter where libseccomp is missing."""
        try:
            return cls(seccomp.program(opens), opens)
        except OSError:
            return cls(None, opens)

    def go_up(self, allowance: Allowance, film: int) -> tuple[str, ...]:
        """Restrict this process for good, as far as this machine can; the names of what restricts it."""
        _limit(allowance, processes=self.opens)
        means = ["rlimits"]
        with contextlib.suppress(OSError):
            kernel.forgo_privileges()
            means.append("no new privileges")
        with contextlib.suppress(OSError):
            landlock.restrict(film if self.opens else None)
            means.append("landlock")
        if self.filter is not None:
            with contextlib.suppress(OSError):
                seccomp.load(self.filter)
                means.append("seccomp")
        return tuple(means)


def leave_namespaces() -> tuple[str, ...]:
    """Cut this process and its children off from the network, if the kernel lets us; the names of what did."""
    try:
        kernel.unshare(_NEW_NAMESPACES)
        kernel.drop_capabilities()
    except OSError:
        return ()
    return ("namespaces",)


def untouched(allowance: Allowance, parent: int) -> tuple[str, ...]:
    """Try what the fence around this process should hold back; the names of what it does not."""
    deeds: dict[str, Callable[[], object]] = {
        "the network": _dial,
        "other files": _open,
        "starting processes": _fork,
        "signalling other processes": lambda: os.kill(parent, 0),
        "more memory": lambda: bytearray(2 * allowance.memory),
    }
    return tuple(name for name, deed in deeds.items() if not _fails(deed))


def _limit(allowance: Allowance, processes: bool) -> None:
    seconds = math.ceil(allowance.seconds)
    most = _size() + allowance.memory
    limits: Sequence[tuple[int, int, int]] = (
        (resource.RLIMIT_AS, most, most),
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, _FILES, _FILES),
        *(() if processes else ((resource.RLIMIT_NPROC, 0, 0),)),
    )
    for kind, soft, hard in limits:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (soft, hard))


def _size() -> int:
    """Bytes of address space in use; 0 where nobody says."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _fails(deed: Callable[[], object]) -> bool:
    try:
        deed()
    except (OSError, MemoryError):
        return True
    return False


def _dial() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", _NOBODY_LISTENS))


def _open() -> None:
    with Path(__file__).open("rb"):
        pass


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
