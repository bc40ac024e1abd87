"""The engine behind a meter: every call is charged before, settled after, recorded and traced."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import perf_counter

from agents.budget import Cost, Meter
from agents.conversation import compose
from agents.draft import Settled
from agents.engine import Engine, Generation, Hear, Picture, Prompt, Sampling, TooLong, pictures_of
from agents.fitting import Fitted, fit, spoken_of, thin
from agents.ledger import Ledger
from agents.pricing import reserve
from agents.trace import Asked, Trace

_SHORTEST = 64  # tokens; a reply shorter than this is only allowed where no more was asked for


class MeteredEngine:
    """An engine that cannot be used without paying. `before` is what every question's prompt begins with."""

    def __init__(self, engine: Engine, meter: Meter, ledger: Ledger, trace: Trace, before: Prompt = ()) -> None:
        self._engine = engine
        self._before = before
        self._meter = meter
        self._ledger = ledger
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
        settled: Settled | None = None,
    ) -> Generation:
        """Ask once about some pictures. With `shrink`, a call too big for the budget is made smaller, not refused.

        `settled`: see `Draft`. Raises what `send` raises.
        """
        if shrink:
            pictures, sampling, n = self._fit(pictures, text, sampling, n)
        return await self.send(compose(pictures, text, self._before), sampling, n, purpose=purpose, settled=settled)

    async def send(
        self, prompt: Prompt, sampling: Sampling, n: int, *, purpose: str, settled: Settled | None = None
    ) -> Generation:
        """Ask once. A prompt longer than the model reads is shown smaller, then fewer frames, and reported.

        A call that fails or is cancelled keeps its reservation: what it really used is unknown. A prompt that the
        engine finds too long all the same is shown smaller once more: now it knows better.
        Raises BudgetExceeded, EngineError, TooLong.
        """
        fitted = await fit(self._engine, prompt, sampling)
        try:
            return await self._send(fitted, sampling, n, purpose, settled)
        except TooLong:  # what the engine has learned from this may be enough to make it fit
            again = await fit(self._engine, prompt, sampling)
            if _sizes(again.prompt) == _sizes(fitted.prompt):
                raise
            return await self._send(again, sampling, n, purpose, settled)

    async def _send(
        self, fitted: Fitted, sampling: Sampling, n: int, purpose: str, settled: Settled | None
    ) -> Generation:
        reserved = self._price(fitted.prompt, sampling, n)
        self._meter.charge(reserved)
        pictures = pictures_of(fitted.prompt)
        view, call = self._ledger.show(pictures), self._trace.call()
        began = perf_counter()
        try:
            with self._heard(call, sampling, n, purpose, settled) as hear:
                generation = await self._engine.generate(fitted.prompt, sampling, n, hear)
        except TooLong:  # refused unread
            self._meter.settle(reserved, Cost())
            self._ledger.withdraw(view)
            raise
        self._ledger.degrade(*fitted.degraded)
        seconds = perf_counter() - began
        tokens = generation.prompt_tokens + generation.completion_tokens
        self._meter.settle(reserved, replace(reserved, tokens=tokens))
        self._ledger.bill(generation, seconds)
        self._trace.add(_asked(call, view.times, generation, purpose, seconds))
        return generation

    def _heard(
        self, call: int, sampling: Sampling, n: int, purpose: str, settled: Settled | None
    ) -> AbstractContextManager[Hear | None]:
        """Where the reply goes while it is written, if it can be told and somebody reads along."""
        if "stream" not in self._engine.offers or not sampling.streams(n):
            return nullcontext()
        return self._trace.draft(call, purpose, settled)

    def affords(self, prompt: Prompt, sampling: Sampling, times: int) -> bool:
        """Whether the budget has room for so many calls like this one."""
        cost = self._price(prompt, sampling, 1)
        wanted = {"frames": cost.frames, "tokens": cost.tokens, "calls": cost.calls}
        return all(times * wanted[each] <= self._meter.left(each) for each in ("frames", "tokens", "calls"))

    def _price(self, prompt: Prompt, sampling: Sampling, n: int) -> Cost:
        tokens = reserve(self._engine, prompt) + spoken_of(sampling) + n * sampling.max_tokens
        return Cost(frames=len(pictures_of(prompt)), tokens=tokens, calls=1)

    def _fit(
        self, pictures: Sequence[Picture], text: str, sampling: Sampling, n: int
    ) -> tuple[Sequence[Picture], Sampling, int]:
        """The largest call that the budget allows: fewer samples first, then shorter replies, then fewer frames."""
        left, shortest = self._meter.left("tokens"), min(_SHORTEST, sampling.max_tokens)
        for count in range(int(min(self._meter.left("frames"), len(pictures))), 0, -1):
            shown = thin(pictures, count)
            room = left - reserve(self._engine, compose(shown, text, self._before))
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
            self._ledger.degrade("budget: " + words.format(fitted, wanted))


def _sizes(prompt: Prompt) -> list[tuple[int, int]]:
    return [(picture.frame.width, picture.frame.height) for picture in pictures_of(prompt)]


def _asked(call: int, times: tuple[float, ...], generation: Generation, purpose: str, seconds: float) -> Asked:
    return Asked(
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
