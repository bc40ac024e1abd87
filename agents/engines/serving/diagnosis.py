"""Why a vLLM server ended, read from its log, and what its operator can do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_LAST = 8  # lines shown where none of them looks like an error
_ERRORS = 3
_SIGKILL = 128 + 9

_ADVICE: Mapping[str, str] = {
    r"No module named 'vllm'": (
        'vLLM is not installed for {python}: pip install "secondlook[vllm]", or name the interpreter of an environment '
        "that has it, with ?python=/path/to/bin/python"
    ),
    r"No module named '?vllm\.": "this release of vLLM is not known here: 0.30 to 0.32 are",
    r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|libcuda\.so|0 active drivers": (
        "vLLM finds no GPU here: look at nvidia-smi, and at whether a container was given the GPU"
    ),
    r"out of memory|OutOfMemoryError|bad_alloc|Cannot allocate memory": (
        "it does not fit into memory: take a smaller or quantized model, more GPUs (?tensor-parallel-size=2), or a "
        "shorter context (?max-model-len=16384)"
    ),
    r"Free memory on device|No available memory for the cache blocks|larger than the available KV cache": (
        "there is too little free GPU memory: end what else uses the GPU, or set ?gpu-memory-utilization=0.8 or "
        "?max-model-len=16384"
    ),
    r"gated repo|401 Client Error|403 Client Error|Access to model .* is restricted": (
        "the model {model} may only be fetched by who has accepted its terms: set HF_TOKEN"
    ),
    r"Repository Not Found|not a valid model identifier|Repo id must|Invalid repository ID|404 Client Error": (
        "there is no model {model}: write its id on Hugging Face, or the path of a folder"
    ),
    r"LocalEntryNotFoundError|couldn't connect to|OfflineModeIsEnabled|outgoing traffic has been disabled": (
        "the model {model} is not on this machine and cannot be fetched: check the network and HF_HUB_OFFLINE"
    ),
    r"unrecognized arguments|error: argument": "it does not know an option that the engine's address gives it",
    r"Address already in use": "another program took its port; it gets another one when the service starts again",
    r"No space left on device": "the disk is full",
}
_MARKS = re.compile(r"^(\(\S+ pid=\d+\) )?((INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:]+ (\[[^\]]*\] )?)?")
_ERROR = re.compile(
    r"^(\w+\.)*\w*(Error|Exception|NotFound)(:.*)?$|^\S+: error: |No module named |^cannot run |^  Value error, "
)
_CONSEQUENCE = "Engine core initialization failed"


def explain(lines: Sequence[str], status: int, *, python: str, model: str) -> str:
    """How it ended, what to do, and the lines that matter."""
    bare = [_MARKS.sub("", line) for line in lines]
    advice = _advice(bare, status).format(python=python, model=model)
    words = "\n".join(f"  {line.strip()}" for line in _telling(bare))
    return f"it ended {_manner(status)}{': ' + advice if advice else ''}" + (f"\n{words}" if words else "")


def _manner(status: int) -> str:
    return f"with signal {status - 128}" if status > 128 else f"with status {status}"


def _advice(lines: Sequence[str], status: int) -> str:
    text = "\n".join(lines)
    found = next((advice for pattern, advice in _ADVICE.items() if re.search(pattern, text)), "")
    return found or ("something killed it; the kernel does that when memory is short" if status == _SIGKILL else "")


def _telling(lines: Sequence[str]) -> list[str]:
    """The errors, the first ones first: what fails afterwards only follows from them."""
    errors = dict.fromkeys(line for line in lines if _ERROR.match(line) and _CONSEQUENCE not in line)
    return list(errors)[:_ERRORS] or list(lines)[-_LAST:]
