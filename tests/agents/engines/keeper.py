"""A server that keeps media under their names, as vLLM does, and loses them when told to."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tests.agents.engines.stub import Answer, Json, is_probe, parts_of, talkative


@dataclass
class Keeper:
    """Answers as `talkative`, but refuses a name without bytes that it does not know.

    `brought` are the names that came with bytes, `named` those that came without, request by request, probes left out.
    """

    kept: set[str] = field(default_factory=set)
    brought: list[list[str]] = field(default_factory=list)
    named: list[list[str]] = field(default_factory=list)
    refused: int = 0
    pause: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, body: Json) -> Answer:
        with self._lock:
            media = [part for part in parts_of(body) if part["type"] != "text"]
            brought = [part["uuid"] for part in media if _url(part) is not None and "uuid" in part]
            named = [part["uuid"] for part in media if _url(part) is None]
            if not is_probe(body):
                self.brought.append(brought)
                self.named.append(named)
            if missing := [name for name in named if name not in self.kept]:
                self.refused += 1
                told = f"Cache miss for image at index {named.index(missing[0])} but data is not provided."
                return Answer({"error": {"message": told, "type": "BadRequestError", "code": 400}}, 400)
            self.kept.update(brought)
        answer = talkative(body)
        return answer if is_probe(body) else Answer(answer.body, pause=self.pause)


def _url(part: Json) -> str | None:
    found: str | None = part[part["type"]]["url"]
    return found
