"""The service's side of the process that makes workers."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Self

from tools.sandbox.wire import Broken, Late, Line
from tools.sandbox.worker import Report

_START_SECONDS = 60.0
_END_SECONDS = 5.0
_REPORT_BYTES = 1 << 16
_INHERITED = ("LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TMPDIR")
_SINGLE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Forking is only sound in a process with one thread."""


class Launcher:
    """Starts the process and asks it for workers; safe under threads. It inherits no secret of the environment."""

    def __init__(self, library: str) -> None:
        self._control, there = socket.socketpair()
        self._lock = Lock()
        self._report: Report | None = None
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tools.sandbox", str(there.fileno()), library],
                pass_fds=[there.fileno()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def report(self) -> Report:
        """What confines the workers; waits until the process is ready. Raises OSError if it does not get there."""
        with self._lock:
            if self._report is None:
                try:
                    said = Line(self._control, _START_SECONDS).receive(_REPORT_BYTES)
                except (Broken, Late) as error:
                    raise OSError("The process that starts decoders does not come up.") from error
                self._report = Report.model_validate_json(said.text)
            return self._report

    @property
    def lives(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def launch(self, film: int) -> "Worker":
        """A worker for one film, given as a descriptor. Raises OSError if there can be none."""
        _ = self.report
        stream, its_stream = socket.socketpair()
        leash, its_leash = socket.socketpair()
        with its_stream, its_leash:
            try:
                with self._lock:
                    socket.send_fds(self._control, [b"!"], [film, its_stream.fileno(), its_leash.fileno()])
            except OSError:
                stream.close()
                leash.close()
                raise
        return Worker(stream, leash)

    def close(self) -> None:
        """End the process and all workers. Can be called twice."""
        self._control.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Worker:
    """A worker from here. Leaving the context ends it."""

    def __init__(self, stream: socket.socket, leash: socket.socket) -> None:
        self.stream = stream
        self._leash = leash

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leash.close()
        self.stream.close()

    def status(self) -> int | None:
        """How a worker ended that has: as of os.wait; None if its maker ended with it."""
        self._leash.settimeout(_END_SECONDS)
        with suppress(OSError):
            told = self._leash.recv(4)
            return int.from_bytes(told, "little") if told else None
        return None


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, **_SINGLE, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
