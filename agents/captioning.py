"""How clips are captioned: how many frames, how many words, and what the model is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from agents import briefing
from agents.engine import Engine
from agents.quoting import quote
from tools.clips import Clip
from tools.embedder import Embedder
from tools.index import Builder, Line
from tools.tool import Fact

DESCRIBE = (
    "Describe in one to three sentences what these frames show: who and what is seen, what happens,"
    " and what can be read."
)
_SUMMARISE = "Say in one to three sentences what happens from {start:g} to {end:g} s, in order, from these notes alone."


@dataclass(frozen=True, slots=True)
class Captioning:
    """A clip of `clip_seconds` is captioned from `fps` frames a second, at most `frames`, in `tokens` at most.

    `at_once`: clips captioned at the same time. `kept`: descriptions kept that single questions asked for.
    """

    clip_seconds: float = 10.0
    fps: float = 1.0
    frames: int = 16
    tokens: int = 128
    at_once: int = 4
    kept: int = 4096

    def count(self, clip: Clip) -> int:
        """Frames that a clip is captioned from."""
        return max(1, min(round(clip.span.length * self.fps), self.frames))

    def builder(self, engine: Engine, embedder: Embedder) -> Builder:
        """What an index is made with. The engine must have been probed: before, it may not know its model."""
        prompts = f"{DESCRIBE}|{_SUMMARISE}|{briefing.DATA}|{self.frames}|{self.tokens}"
        digest = hashlib.sha256(prompts.encode()).hexdigest()[:16]
        return Builder(engine.model, digest, self.clip_seconds, self.fps, engine.side, embedder.name)


def summarise(clip: Clip, lines: Sequence[Line]) -> str:
    """Ask for a caption of a long clip from those of the shorter ones in it. They are data, whatever they say."""
    facts = [Fact(start=line.start, end=line.end, text=line.text, origin="caption") for line in lines]
    wish = _SUMMARISE.format(start=clip.span.start, end=clip.span.end)
    return f"{briefing.DATA}\n{quote(facts)}\n{wish}"


def plain(reply: str) -> str:
    """What a model wrote, as one line without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in reply).split())
