"""Make a prompt fit into the model's context: smaller pictures first, then fewer, and say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from json import dumps

from agents.engines.base import (
    Engine,
    Message,
    Picture,
    Prompt,
    PromptTooLong,
    Sampling,
    pictures_of,
    prompt_token_bound,
    texts_of,
)
from tools.video.frame import frame_sides

_FEWEST = 4  # frames; fewer show too little of a video to answer about it


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt that fits, and in words what was given up for it."""

    prompt: Prompt
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Room:
    """What `engine.context` leaves for a prompt next to its reply and the tools that the model is told of, in tokens.

    `words`: how many of them its words take, once they have been counted.
    """

    engine: Engine
    tokens: int
    words: int | None = None

    def holds(self, prompt: Prompt) -> bool:
        """Whether a prompt of these words fits, with whatever pictures."""
        return prompt_token_bound(self.engine, prompt, text_tokens=self.words) <= self.tokens


async def prompt_fits(engine: Engine, prompt: Prompt, sampling: Sampling) -> bool:
    """Whether a prompt as it is and its reply are within `engine.context` tokens. Raises EngineError."""
    return await _too_small(engine, prompt, sampling) is None


async def fit_prompt(engine: Engine, prompt: Prompt, sampling: Sampling) -> FittedPrompt:
    """The prompt within `engine.context` tokens, reply and tools included, and `engine.max_pictures`.

    Its words are counted only when the upper bound, one token a byte, does not fit. Raises PromptTooLong, EngineError.
    """
    wanted, most = len(pictures_of(prompt)), engine.max_pictures
    if most is None or wanted <= most:
        return await _fit(engine, prompt, sampling)
    fitted = await _fit(engine, _thinned(prompt, most), sampling)
    return FittedPrompt(fitted.prompt, (f"model: shown {most} of {wanted} frames", *fitted.degraded))


async def _fit(engine: Engine, prompt: Prompt, sampling: Sampling) -> FittedPrompt:
    room = await _too_small(engine, prompt, sampling)
    return FittedPrompt(prompt) if room is None else _shrunk(engine, prompt, room.holds)


async def _too_small(engine: Engine, prompt: Prompt, sampling: Sampling) -> _Room | None:
    """The room for a prompt if it does not fit as it is. Its words are counted once, and only if it is tight."""
    if engine.context is None:
        return None
    room = _Room(engine, engine.context - sampling.max_tokens - tool_token_bound(sampling))
    if room.holds(prompt):
        return None
    counted = replace(room, words=sum([await engine.count(text) for text in texts_of(prompt)]))
    return None if counted.holds(prompt) else counted


def _shrunk(engine: Engine, prompt: Prompt, fits: Callable[[Prompt], bool]) -> FittedPrompt:
    wanted = len(pictures_of(prompt))
    sizes = frame_sides(engine.side, engine.min_side)
    for size in sizes:
        if fits(smaller := _resized(prompt, size)):
            return FittedPrompt(smaller, (_smaller(size, sizes[0]),))
    for count in range(wanted - 1, min(_FEWEST, wanted) - 1, -1):
        if fits(fewer := _thinned(smaller, count)):
            reasons = [f"context: shown {count} of {wanted} frames"]
            if len(sizes) > 1:
                reasons.insert(0, _smaller(sizes[-1], sizes[0]))
            return FittedPrompt(fewer, tuple(reasons))
    raise PromptTooLong(
        f"The question with its frames is longer than the {engine.context} tokens that {engine.model} reads."
    )


def _smaller(size: int, side: int) -> str:
    return f"context: frames of {size} instead of {side} pixels"


def _resized(prompt: Prompt, side: int) -> Prompt:
    return tuple(replace(message, parts=tuple(_part(part, side) for part in message.parts)) for message in prompt)


def _part(part: str | Picture, side: int) -> str | Picture:
    return part if isinstance(part, str) else part.resized(side)


def _thinned(prompt: Prompt, count: int) -> Prompt:
    kept = set(map(id, thin_out(pictures_of(prompt), count)))
    return tuple(_with(message, kept) for message in prompt)


def _with(message: Message, kept: set[int]) -> Message:
    return replace(message, parts=tuple(part for part in message.parts if isinstance(part, str) or id(part) in kept))


def thin_out(pictures: Sequence[Picture], count: int) -> Sequence[Picture]:
    """`count` pictures spread evenly over all of them."""
    if count >= len(pictures):
        return pictures
    return [pictures[(2 * i + 1) * len(pictures) // (2 * count)] for i in range(count)]


def tool_token_bound(sampling: Sampling) -> int:
    """Upper bound of prompt tokens in which a model is told of the tools that it may call."""
    return sum(len(dumps(asdict(tool)).encode()) for tool in sampling.tools)
