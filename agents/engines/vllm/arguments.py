"""The command line of a vLLM server, and the reason for its exit, from its log."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.engines.base import EngineError

_LAST = 8  # log lines shown if none of them looks like an error
_ERRORS = 3
_SIGKILL = 128 + 9

_ADVICE: Mapping[str, str] = {
    r"No module named 'vllm'": (
        'vLLM is not installed for {python}: pip install "secondlook[vllm]", or name the interpreter of an environment '
        "that has it, with ?python=/path/to/bin/python"
    ),
    r"No module named '?vllm\.": "this release of vLLM is not supported: 0.30 to 0.32 are",
    r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|libcuda\.so|0 active drivers": (
        "vLLM finds no GPU here: look at nvidia-smi, and at whether a container was given the GPU"
    ),
    r"out of memory|OutOfMemoryError|bad_alloc|Cannot allocate memory": (
        "it does not fit into memory: use a smaller or quantized model, more GPUs (?tensor-parallel-size=2), or a "
        "shorter context (?max-model-len=16384)"
    ),
    r"Free memory on device|No available memory for the cache blocks|larger than the available KV cache": (
        "there is too little free GPU memory: stop other programs on the GPU, or set ?gpu-memory-utilization=0.8 or "
        "?max-model-len=16384"
    ),
    r"gated repo|401 Client Error|403 Client Error|Access to model .* is restricted": (
        "the model {model} is gated: accept its terms on Hugging Face and set HF_TOKEN"
    ),
    r"Repository Not Found|not a valid model identifier|Repo id must|Invalid repository ID|404 Client Error": (
        "there is no model {model}: give its id on Hugging Face, or the path of a folder"
    ),
    r"LocalEntryNotFoundError|couldn't connect to|OfflineModeIsEnabled|outgoing traffic has been disabled": (
        "the model {model} is not on this machine and cannot be fetched: check the network and HF_HUB_OFFLINE"
    ),
    r"unrecognized arguments|error: argument": "it does not know an option in the engine's URL",
    r"Address already in use": "another program took its port; restart the service, and it gets another one",
    r"No space left on device": "the disk is full",
}
_MARKS = re.compile(r"^(\(\S+ pid=\d+\) )?((INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ (\[[^\]]*\] )?)?")
_ERROR = re.compile(
    r"^(\w+\.)*\w*(Error|Exception|NotFound)(:.*)?$|^\S+: error: |No module named |^cannot run |^  Value error, "
)
_CONSEQUENCE = "Engine core initialization failed"


def explain_exit(lines: Sequence[str], status: int, *, python: str, model: str) -> str:
    """Exit status, advice, and the relevant log lines."""
    bare = [_MARKS.sub("", line) for line in lines]
    advice = _advice(bare, status).format(python=python, model=model)
    words = "\n".join(f"  {line.strip()}" for line in _error_lines(bare))
    return f"it ended {_status_in_words(status)}{': ' + advice if advice else ''}" + (f"\n{words}" if words else "")


def _status_in_words(status: int) -> str:
    return f"with signal {status - 128}" if status > 128 else f"with status {status}"


def _advice(lines: Sequence[str], status: int) -> str:
    text = "\n".join(lines)
    found = next((advice for pattern, advice in _ADVICE.items() if re.search(pattern, text)), "")
    return found or ("the kernel kills programs when memory is short" if status == _SIGKILL else "")


def _error_lines(lines: Sequence[str]) -> list[str]:
    """The first errors: later ones usually follow from them."""
    errors = dict.fromkeys(line for line in lines if _ERROR.match(line) and _CONSEQUENCE not in line)
    return list(errors)[:_ERRORS] or list(lines)[-_LAST:]


_MODULE = "vllm.entrypoints.openai.api_server"  # the command `vllm` does not run in all builds
_HOST = "127.0.0.1"
_FLAGS: Mapping[str, str] = {
    "max-model-len": "auto",  # the longest context that fits into memory
    "limit-mm-per-prompt": '{"image":256,"video":1}',
    "logprobs-mode": "processed_logprobs",  # makes choice probabilities exact
    "enable-prompt-tokens-details": "true",  # reports cached tokens
    "trust-request-mm-kwargs": "true",  # allows frames to be sent as a video with their times
    "disable-uvicorn-access-log": "true",  # the service has its own access log
}
_RESERVED_FLAGS = frozenset({"api-key", "host", "model", "port", "served-model-name", "uds"})
_NAME = re.compile(r"[a-z][a-z0-9.-]*", re.IGNORECASE)


@dataclass(frozen=True)
class VllmCommand:
    """Command of a vLLM server for one model, on a free port of the loopback interface.

    `flags` are further options without dashes; "true" and "false" are switches. They override the defaults. Clients
    need `key`, which is passed in the environment because all users of the machine can see arguments.
    """

    model: str
    name: str
    flags: Mapping[str, str]
    python: str
    key: str = field(repr=False)
    port: int = field(default_factory=lambda: _free_port())

    def __post_init__(self) -> None:
        if not shutil.which(self.python):
            raise EngineError(
                f"there is no interpreter {self.python}: ?python= must name the interpreter of an environment with vLLM"
            )
        if self.model.startswith(("/", "./", "../", "~")) and not Path(self.model).is_dir():
            raise EngineError(f"there is no model folder {self.model}")
        for flag in self.flags:
            if flag in _RESERVED_FLAGS:
                raise EngineError(f"{flag} cannot be set: the service sets it")
            if not _NAME.fullmatch(flag):
                raise EngineError(f"{flag!r} is not a valid option name of vLLM")

    @property
    def root(self) -> str:
        """Base URL without a path."""
        return f"http://{_HOST}:{self.port}"

    @property
    def command(self) -> Sequence[str]:
        """The program and its arguments, without the key."""
        place = ("--host", _HOST, "--port", str(self.port))
        names = ("--model", self.model, "--served-model-name", self.name)
        return (self.python, "-m", _MODULE, *names, *place, *_arguments({**_FLAGS, **self.flags}))

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables to add to the environment."""
        # PYTHONSAFEPATH keeps it from importing modules from the working directory.
        return {"VLLM_API_KEY": self.key, "VLLM_NO_USAGE_STATS": "1", "PYTHONSAFEPATH": "1"}

    def explain(self, lines: Sequence[str], status: int) -> str:
        """Why it exited, from the last lines of its log."""
        return explain_exit(lines, status, python=self.python, model=self.model)


def _arguments(flags: Mapping[str, str]) -> Iterator[str]:
    for flag, value in flags.items():
        if value in ("", "true"):
            yield f"--{flag}"
        elif value == "false":
            yield f"--no-{flag}"
        else:
            yield f"--{flag}={value}"  # one argument, because a value may begin with a dash


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
