"""What an index was made with. Another make is another index: their lines and vectors never meet."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache

FORMAT = 1
"""Raise this with every change of how an index is written."""


@dataclass(frozen=True, slots=True)
class Builder:
    """Everything that changes what is in an index.

    `captioner` and `embedder` are names of models, `prompts` a digest of the prompts. Clips of `clip_seconds` are
    captioned from `fps` frames a second, the longest side `side` pixels.
    """

    captioner: str
    prompts: str
    clip_seconds: float
    fps: float
    side: int
    embedder: str
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name it."""
        return _digest(self)


@lru_cache(maxsize=64)
def _digest(builder: Builder) -> str:
    written = json.dumps(asdict(builder), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(written.encode()).hexdigest()[:16]
