"""The service in a process of its own, over a real socket: for tests that kill, overload and call it from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]


class Service:
    """One `secondlook serve`. Settings are given in lower case without the prefix."""

    def __init__(self, folder: Path, wrapper: Sequence[str] = (), **settings: object) -> None:
        self.folder = folder
        self._wrapper = wrapper
        self.log = folder / "service.log"
        self.port = free_port()
        self._settings = {
            "data_dir": folder / "data",
            "engine": "scripted:Answer: A",
            "port": self.port,
            "quota__requests_per_minute": 1_000_000,
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """What it keeps."""
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when it is ready."""
        named = {f"SECONDLOOK_{name.upper()}": str(value) for name, value in self._settings.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SECONDLOOK_")}
        with self.log.open("ab") as log:
            command = [*self._wrapper, sys.executable, "-m", "app", "serve"]
            self._process = subprocess.Popen(command, cwd=ROOT, env={**kept, **named}, stdout=log, stderr=log)
        until(self._ready, 180)

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As an operator would."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def client(self) -> httpx.AsyncClient:
        """A patient client."""
        return httpx.AsyncClient(base_url=self.url, timeout=60)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def children(self) -> set[int]:
        """Processes of its own, at any depth."""
        return descendants(self.pid)

    @property
    def memory(self) -> int:
        """Bytes that it holds in memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def complaints(self) -> list[str]:
        """Lines of its log that tell of bugs."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or "unexpected error" in line]

    def _ready(self) -> bool:
        assert self.alive, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/ready", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(folder: Path, wrapper: Sequence[str] = (), **settings: object) -> Iterator[Service]:
    """A service that is stopped at the end, whatever state it is in. `wrapper`: a command that starts it."""
    service = Service(folder, wrapper, **settings)
    try:
        service.start()
        yield service
    finally:
        service.stop()


def descendants(of: int) -> set[int]:
    """Process ids below a process."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    more = {of}
    while more:
        more = {child for child, parent in parents.items() if parent in more}
        found |= more
    return found


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Return when a condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
