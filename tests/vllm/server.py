"""A real vLLM server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.vllm.child import Child, free_port

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
    "--distributed-executor-backend": "uni",  # as with one GPU; else a worker spins for a second after each step
}
SURROUNDINGS = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the CPU build heeds `uni` only so; the model still has its own process
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else every server sits on the first core, whoever else is there
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}


class Server(Child):
    """One vLLM server, of the CPU build unless its `surroundings` say otherwise.

    Of `flags`, None is a switch.
    """

    def __init__(
        self,
        python: Path,
        model: Path,
        log: Path,
        *,
        name: str = "demo",
        flags: Mapping[str, str | None] = FLAGS,
        surroundings: Mapping[str, str] = SURROUNDINGS,
    ) -> None:
        self.name = name
        port = free_port()
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command += ["--served-model-name", name, "--host", "127.0.0.1", "--port", str(port)]
        for flag, value in flags.items():
            command += [flag] if value is None else [flag, value]
        super().__init__(command, port, log, health="/health", surroundings=surroundings)
        self.url = f"{self.root}/v1"

    def kill_model(self) -> None:
        """End only the process that computes; the one that answers HTTP finds out by itself."""
        self.kill_child(b"EngineCore")

    def metrics(self) -> dict[str, float]:
        """Its counters and gauges, by name with labels as they stand there, and by name alone, added up."""
        response = httpx.get(f"{self.root}/metrics", timeout=60)  # one that works hard answers late
        response.raise_for_status()
        found: dict[str, float] = {}
        for sample in _SAMPLE.finditer(response.text):
            for key in {sample["name"], sample["name"] + (sample["labels"] or "")}:
                found[key] = found.get(key, 0.0) + float(sample["value"])
        return found
