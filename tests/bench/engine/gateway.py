"""Our service as its users start it, in front of a model server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.vllm.child import Child, free_port

_TICKS = os.sysconf("SC_CLK_TCK")  # of processor time, a second


class Gateway(Child):
    """The service by uvicorn, without keys, on loopback. `videos` is a folder that requests may name."""

    def __init__(self, engine: str, videos: Path, folder: Path) -> None:
        port = free_port()
        settings = {
            "SECONDLOOK_ENGINE": engine,
            "SECONDLOOK_VIDEO_DIR": str(videos),
            "SECONDLOOK_DATA_DIR": str(folder / f"data-{port}"),
            "SECONDLOOK_MAX_RUNS": "16",
        }
        command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
        super().__init__(command, port, folder / f"gateway-{port}.log", health="/ready", surroundings=settings)

    def client(self) -> httpx.AsyncClient:
        """Someone who asks it."""
        return httpx.AsyncClient(base_url=self.root, timeout=600)

    @property
    def processor_seconds(self) -> float:
        """Processor time that it has used, its decoding processes not counted."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a question. Raises if there is none, or if the model failed on the way."""
    response = await client.post("/v1/answers", json=body)
    if response.is_error:
        raise RuntimeError(f"{response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    if answer["report"]["stopped"] == "engine":
        raise RuntimeError(f"the model failed: {answer['report']['degraded']}")
    return answer
