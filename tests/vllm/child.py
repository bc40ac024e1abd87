"""A server as a child process that can be hurt."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

_SECONDS = 600.0  # until a server must be up; vLLM takes 40 to 70 on two idle cores, minutes on busy ones
_GRACE = 20.0  # seconds to end by itself
_TAIL = 4000  # characters of the log that a failure shows


class ServerError(Exception):
    """The server did not do what it was told; the end of its log says why."""


class Child:
    """An HTTP server on loopback. It keeps its port over restarts, and its log.

    It is up once `health`, a path, is answered well. `surroundings` are added to the environment.
    """

    def __init__(
        self, command: Sequence[str], port: int, log: Path, *, health: str, surroundings: Mapping[str, str]
    ) -> None:
        self.port = port
        self.root = f"http://127.0.0.1:{port}"
        self.log = log
        self._command = list(command)
        self._health = health
        self._surroundings = dict(surroundings)
        self._process: subprocess.Popen[bytes] | None = None
        self._begin = 0

    def start(self) -> None:
        """Start it in a process group of its own, and return at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._surroundings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, seconds: float = _SECONDS) -> None:
        """Until it is healthy. Raises ServerError."""
        end = time.monotonic() + seconds
        while not self.healthy():
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"the server ended while it was starting:\n{self.tail()}")
            if time.monotonic() > end:
                raise ServerError(f"the server is not healthy after {seconds:g} s:\n{self.tail()}")
            time.sleep(0.5)

    def healthy(self) -> bool:
        """Whether it answers; on a busy machine that takes its time, and one that is dead refuses at once."""
        try:
            return httpx.get(self.root + self._health, timeout=30).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """Ask it to end, and make it if it does not."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
            self.kill()

    def kill(self) -> None:
        """End it and its children at once, as the kernel does when memory is short."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # all have ended by themselves
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def kill_child(self, name: bytes) -> None:
        """End only those of its own children whose command line contains a name."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            if name in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it on the same port; returns when it is healthy."""
        self.kill()
        self.start()
        self.wait()

    def mark(self) -> None:
        """From here on, `tail` shows only what is new."""
        self._begin = self.log.stat().st_size if self.log.exists() else 0

    def tail(self) -> str:
        """The end of its log since the last mark."""
        return self.log.read_bytes()[self._begin :].decode(errors="replace")[-_TAIL:] if self.log.exists() else ""


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
