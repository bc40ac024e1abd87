"""An engine runs the video LMM: one method, `generate`, plus what it offers and where its limits are.

Errors are sorted by who must act: `EngineError` is for the operator of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from agents.answer import Manner
from tools.frame import Frame

Offer = Literal["logprobs", "choices"]


class EngineError(Exception):
    """The model could not be run: it is down, restarting, or refused the request."""


@dataclass(frozen=True)
class Picture:
    """A frame on its way to the model. `key` names its content (film, second, size), for caches everywhere."""

    frame: Frame
    key: str

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return self.frame.time

    @cached_property
    def jpeg(self) -> bytes:
        """The frame as JPEG, encoded once however often it is sent."""
        return self.frame.jpeg()


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: text and pictures in the order in which the model reads them."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Picture, ...]


Prompt = tuple[Message, ...]


def pictures_of(prompt: Prompt) -> tuple[Picture, ...]:
    """All pictures of a prompt, in reading order."""
    return tuple(part for message in prompt for part in message.parts if isinstance(part, Picture))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy. `choices` restricts the reply to one of these strings."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token and its log-probability in nats."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One sample. `tokens` is empty if the engine offers no log-probabilities.

    `probabilities` is the distribution over `Sampling.choices`, where they were given and the engine knows it.
    """

    text: str
    tokens: tuple[Token, ...] = ()
    finish: Literal["stop", "length"] = "stop"
    probabilities: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """All samples of one call and their bill. Prompt tokens count once however many samples share them."""

    replies: tuple[Reply, ...]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Engine(Protocol):
    """Runs a model. Cancelling the task that awaits `generate` stops the work itself."""

    @property
    def model(self) -> str:
        """Name of the model, as reported to callers."""

    @property
    def offers(self) -> frozenset[Offer]:
        """What this engine can do beyond text."""

    @property
    def manner(self) -> Manner:
        """How the model states its choice among options: nearly all by letter, very small ones in words."""

    @property
    def side(self) -> int:
        """Longest side, in pixels, at which frames should be sent."""

    @property
    def tokens_per_frame(self) -> int:
        """Upper bound of prompt tokens for one frame and its time label; budgets reserve by it."""

    async def probe(self) -> None:
        """Find out what the engine offers, where that has to be asked: until then it may say nothing. EngineError."""

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int) -> Generation:
        """Draw n replies to one prompt, which is read once. Raises EngineError."""

    async def close(self) -> None:
        """Give back what the engine holds."""


_TEMPLATE = 64  # tokens; more than chat templates and the system prompts in them were seen to add
_TURN = 16


def reserve(engine: Engine, prompt: Prompt) -> int:
    """Upper bound of a prompt's tokens: one for each byte of text, and what frames, turns and templates add."""
    texts = (part for message in prompt for part in message.parts if isinstance(part, str))
    written = sum(len(text.encode()) for text in texts) + _TURN * len(prompt) + _TEMPLATE
    return written + engine.tokens_per_frame * len(pictures_of(prompt))
