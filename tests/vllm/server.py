"""A real vLLM server, as a child process that can be hurt."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

_SECONDS = 600.0  # until a server must be up; 40 to 70 on two idle cores, minutes on busy ones
_GRACE = 20.0  # seconds to end by itself
_TAIL = 4000  # characters of the log that a failure shows
_SAMPLE = re.compile(r"^(?P<name>[\w:]+)(?P<labels>\{.*\})? (?P<value>\S+)$", re.MULTILINE)

FLAGS: Mapping[str, str | None] = {
    "--enforce-eager": None,
    "--dtype": "float32",  # what the in-process engine computes in, so that both can be compared
    "--max-model-len": "2048",
    "--block-size": "32",  # the default of 128 hides what is cached
    "--limit-mm-per-prompt": '{"image":256,"video":2}',
    "--enable-prompt-tokens-details": None,
    "--logprobs-mode": "processed_logprobs",
    "--trust-request-mm-kwargs": None,
}
_SURROUNDINGS = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


class ServerError(Exception):
    """The server did not do what it was told; the end of its log says why."""


class Server:
    """One vLLM server on loopback. It keeps its port over restarts.

    `flags` are added to `FLAGS` or replace them; None is a switch.
    """

    def __init__(
        self, python: Path, model: Path, log: Path, *, name: str = "demo", flags: Mapping[str, str | None] | None = None
    ) -> None:
        self.name = name
        self.port = _free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"
        self.log = log
        self._command = [str(python), "-m", "vllm.entrypoints.openai.api_server", *_arguments(model, name, self.port)]
        for flag, value in {**FLAGS, **(flags or {})}.items():
            self._command += [flag] if value is None else [flag, value]
        self._process: subprocess.Popen[bytes] | None = None
        self._begin = 0

    def start(self) -> None:
        """Start it in a process group of its own, and return at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **_SURROUNDINGS},
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
        """Whether it answers."""
        try:
            return httpx.get(f"{self.root}/health", timeout=5).is_success
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

    def kill_model(self) -> None:
        """End only the process that computes; the one that answers HTTP finds out by itself."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            if b"EngineCore" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it on the same port; returns when it is healthy."""
        self.kill()
        self.start()
        self.wait()

    def metrics(self) -> dict[str, float]:
        """Its counters and gauges, by name with labels as they stand there, and by name alone, added up."""
        response = httpx.get(f"{self.root}/metrics", timeout=10)
        response.raise_for_status()
        found: dict[str, float] = {}
        for sample in _SAMPLE.finditer(response.text):
            for key in {sample["name"], sample["name"] + (sample["labels"] or "")}:
                found[key] = found.get(key, 0.0) + float(sample["value"])
        return found

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one chat completion request as it stands. Raises httpx.HTTPStatusError."""
        response = httpx.post(f"{self.url}/chat/completions", json={"model": self.name, **body}, timeout=120)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def mark(self) -> None:
        """From here on, `tail` shows only what is new."""
        self._begin = self.log.stat().st_size if self.log.exists() else 0

    def tail(self) -> str:
        """The end of its log since the last mark."""
        return self.log.read_bytes()[self._begin :].decode(errors="replace")[-_TAIL:] if self.log.exists() else ""


def _arguments(model: Path, name: str, port: int) -> list[str]:
    return ["--model", str(model), "--served-model-name", name, "--host", "127.0.0.1", "--port", str(port)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
