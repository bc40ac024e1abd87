"""Calls to the model: prompts are composed, fitted to budget and context, metered and traced."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import perf_counter

from agents.core.budget import BudgetMeter, CallCost
from agents.core.context_fit import FittedPrompt, fit_prompt, thin_out, tool_token_bound
from agents.core.question import Question
from agents.core.trace import ModelEvent, StablePrefix, Trace
from agents.core.usage import RunUsage
from agents.engines.base import (
    Engine,
    Generation,
    Message,
    OnText,
    Picture,
    Prompt,
    PromptTooLong,
    Sampling,
    pictures_of,
    prompt_token_bound,
)


def opening_prompt(question: Question) -> Prompt:
    """What every prompt of a run begins with: instructions and earlier turns, those of one speaker joined."""
    told = (Message("system", (question.instructions,)),) if question.instructions else ()
    turns: list[Message] = []
    for turn in question.history:
        if turns and turns[-1].role == turn.role:
            turns[-1] = replace(turns[-1], parts=(*turns[-1].parts, f"\n{turn.text}"))
        else:
            turns.append(Message(turn.role, (turn.text,)))
    return (*told, *turns)


def compose_prompt(pictures: Sequence[Picture], text: str, before: Prompt = ()) -> Prompt:
    """The prompt for one call: pictures first in the user's first turn, so that calls share a long prefix."""
    spoken = [message for message in before if message.role != "system"]
    if spoken and spoken[-1].role == "user":
        said = spoken.pop()
        turns = [*spoken, replace(said, parts=(*said.parts, f"\n{text}"))]
    else:
        turns = [*spoken, Message("user", (text,))]
    first = next(place for place, turn in enumerate(turns) if turn.role == "user")
    if pictures:
        words, *rest = turns[first].parts
        turns[first] = replace(turns[first], parts=(*pictures, f"\n{words}", *rest))
    return (*(message for message in before if message.role == "system"), *turns)


_SHORTEST_REPLY = 64  # tokens; a reply shorter than this is only allowed where no more was asked for


class ModelClient:
    """The model of one run: every call is fitted to the budget and the context, metered and traced.

    `opening` is what every prompt begins with: instructions and earlier turns.
    """

    def __init__(self, engine: Engine, meter: BudgetMeter, usage: RunUsage, trace: Trace, opening: Prompt = ()) -> None:
        self._engine = engine
        self._opening = opening
        self._meter = meter
        self._usage = usage
        self._trace = trace

    async def generate(
        self,
        pictures: Sequence[Picture],
        text: str,
        sampling: Sampling,
        n: int,
        *,
        purpose: str,
        shrink: bool,
        stable: StablePrefix | None = None,
    ) -> Generation:
        """Ask once about some pictures. With `shrink`, a call too big for the budget is made smaller, not refused.

        `stable`: see `ReplyStream`. Raises what `send` raises.
        """
        if shrink:
            pictures, sampling, n = self._fit(pictures, text, sampling, n)
        return await self.send(
            compose_prompt(pictures, text, self._opening), sampling, n, purpose=purpose, stable=stable
        )

    async def send(
        self, prompt: Prompt, sampling: Sampling, n: int, *, purpose: str, stable: StablePrefix | None = None
    ) -> Generation:
        """Ask once. A prompt longer than the model reads is shown smaller, then fewer frames, and reported.

        A call that fails or is cancelled keeps its reservation: what it really used is unknown. If the
        engine still rejects the prompt as too long, it is fitted to the limits learned and sent once more.
        Raises BudgetExceeded, EngineError, PromptTooLong.
        """
        fitted = await fit_prompt(self._engine, prompt, sampling)
        try:
            return await self._send(fitted, sampling, n, purpose, stable)
        except PromptTooLong:  # what the engine has learned from this may be enough to make it fit
            again = await fit_prompt(self._engine, prompt, sampling)
            if _frame_sizes(again.prompt) == _frame_sizes(fitted.prompt):
                raise
            return await self._send(again, sampling, n, purpose, stable)

    async def _send(
        self, fitted: FittedPrompt, sampling: Sampling, n: int, purpose: str, stable: StablePrefix | None
    ) -> Generation:
        reserved = self._price(fitted.prompt, sampling, n)
        self._meter.reserve(reserved)
        pictures = pictures_of(fitted.prompt)
        view, call = self._usage.record_frames(pictures), self._trace.call()
        began = perf_counter()
        try:
            with self._reply_stream(call, sampling, n, purpose, stable) as hear:
                generation = await self._engine.generate(fitted.prompt, sampling, n, hear)
        except PromptTooLong:  # refused unread
            self._meter.settle(reserved, CallCost())
            self._usage.remove_frames(view)
            raise
        self._usage.add_degradation(*fitted.degraded)
        seconds = perf_counter() - began
        tokens = generation.prompt_tokens + generation.completion_tokens
        self._meter.settle(reserved, replace(reserved, tokens=tokens))
        self._usage.record_generation(generation, seconds)
        self._trace.add(_model_event(call, view.times, generation, purpose, seconds))
        return generation

    def _reply_stream(
        self, call: int, sampling: Sampling, n: int, purpose: str, stable: StablePrefix | None
    ) -> AbstractContextManager[OnText | None]:
        """Where the reply goes while it is written, if it can be told and somebody reads along."""
        if "stream" not in self._engine.capabilities or not sampling.streams(n):
            return nullcontext()
        return self._trace.reply_stream(call, purpose, stable)

    def affords(self, prompt: Prompt, sampling: Sampling, times: int) -> bool:
        """Whether the budget has room for so many calls like this one."""
        cost = self._price(prompt, sampling, 1)
        wanted = {"frames": cost.frames, "tokens": cost.tokens, "calls": cost.calls}
        return all(times * wanted[each] <= self._meter.left(each) for each in ("frames", "tokens", "calls"))

    def _price(self, prompt: Prompt, sampling: Sampling, n: int) -> CallCost:
        tokens = prompt_token_bound(self._engine, prompt) + tool_token_bound(sampling) + n * sampling.max_tokens
        return CallCost(frames=len(pictures_of(prompt)), tokens=tokens, calls=1)

    def _fit(
        self, pictures: Sequence[Picture], text: str, sampling: Sampling, n: int
    ) -> tuple[Sequence[Picture], Sampling, int]:
        """The largest call that the budget allows: fewer samples first, then shorter replies, then fewer frames."""
        left, shortest = self._meter.left("tokens"), min(_SHORTEST_REPLY, sampling.max_tokens)
        for count in range(int(min(self._meter.left("frames"), len(pictures))), 0, -1):
            shown = thin_out(pictures, count)
            room = left - prompt_token_bound(self._engine, compose_prompt(shown, text, self._opening))
            if room >= shortest:
                break
        else:
            return pictures, sampling, n  # not even the smallest call fits: charging it says why
        drawn = int(max(1, min(n, room // sampling.max_tokens)))
        length = int(min(sampling.max_tokens, room))
        self._tell("shown {} of {} frames", len(shown), len(pictures))
        self._tell("drew {} of {} samples", drawn, n)
        self._tell("replies cut at {} instead of {} tokens", length, sampling.max_tokens)
        return shown, replace(sampling, max_tokens=length), drawn

    def _tell(self, words: str, fitted: int, wanted: int) -> None:
        if fitted < wanted:
            self._usage.add_degradation("budget: " + words.format(fitted, wanted))


def _frame_sizes(prompt: Prompt) -> list[tuple[int, int]]:
    return [(picture.frame.width, picture.frame.height) for picture in pictures_of(prompt)]


def _model_event(
    call: int, times: tuple[float, ...], generation: Generation, purpose: str, seconds: float
) -> ModelEvent:
    return ModelEvent(
        call=call,
        purpose=purpose,
        times=times,
        replies=tuple(reply.text for reply in generation.replies),
        cut=sum(reply.finish == "length" for reply in generation.replies),
        prompt_tokens=generation.prompt_tokens,
        cached_tokens=generation.cached_tokens,
        completion_tokens=generation.completion_tokens,
        seconds=seconds,
    )
