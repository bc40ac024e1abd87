"""vLLM's server as a program to be run: its arguments and its environment."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.engine import EngineError
from agents.engines.serving.diagnosis import explain

_MODULE = "vllm.entrypoints.openai.api_server"  # the script `vllm` does not run in all builds
_HOST = "127.0.0.1"
_FLAGS: Mapping[str, str] = {
    "max-model-len": "auto",  # the longest that fits into the memory
    "limit-mm-per-prompt": '{"image":256,"video":1}',
    "logprobs-mode": "processed_logprobs",  # makes option probabilities exact
    "enable-prompt-tokens-details": "true",  # reports cached tokens
    "trust-request-mm-kwargs": "true",  # lets frames be sent as a video with their true times
    "disable-uvicorn-access-log": "true",  # who asks is in our own log
}
_OURS = frozenset({"api-key", "host", "model", "port", "served-model-name", "uds"})
_NAME = re.compile(r"[a-z][a-z0-9.-]*", re.IGNORECASE)


@dataclass(frozen=True)
class Program:
    """A vLLM server for one model on a free port of loopback.

    `flags` are its further options, without dashes: "true" and "false" switch, anything else is a value. They go
    before our own. Callers need `key`, which is in the environment, because all users of the machine see arguments.
    """

    model: str
    name: str
    flags: Mapping[str, str]
    python: str
    key: str = field(repr=False)
    port: int = field(default_factory=lambda: _free_port())

    def __post_init__(self) -> None:
        if not shutil.which(self.python):
            raise EngineError(f"there is no interpreter {self.python}: ?python= names that of an environment with vLLM")
        if self.model.startswith(("/", "./", "../", "~")) and not Path(self.model).is_dir():
            raise EngineError(f"there is no folder {self.model} with a model")
        for flag in self.flags:
            if flag in _OURS:
                raise EngineError(f"{flag} is not for you to choose: vLLM is started for this service alone")
            if not _NAME.fullmatch(flag):
                raise EngineError(f"{flag!r} cannot be an option of vLLM")

    @property
    def root(self) -> str:
        """Where it is, without a path."""
        return f"http://{_HOST}:{self.port}"

    @property
    def command(self) -> Sequence[str]:
        """The program and its arguments; the key is not among them."""
        place = ("--host", _HOST, "--port", str(self.port))
        names = ("--model", self.model, "--served-model-name", self.name)
        return (self.python, "-m", _MODULE, *names, *place, *_arguments({**_FLAGS, **self.flags}))

    @property
    def environment(self) -> Mapping[str, str]:
        """What it needs in the environment beside what is there."""
        # Its modules come from its own environment, not from the folder in which the service was started.
        return {"VLLM_API_KEY": self.key, "VLLM_NO_USAGE_STATS": "1", "PYTHONSAFEPATH": "1"}

    def explain(self, lines: Sequence[str], status: int) -> str:
        """Why it ended, from the last lines that it wrote."""
        return explain(lines, status, python=self.python, model=self.model)


def _arguments(flags: Mapping[str, str]) -> Iterator[str]:
    for flag, value in flags.items():
        if value in ("", "true"):
            yield f"--{flag}"
        elif value == "false":
            yield f"--no-{flag}"
        else:
            yield f"--{flag}={value}"  # in one word: a value may begin with a dash


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
