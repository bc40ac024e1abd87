"""Looks at a film and says what is seen, without a question: for captions. Metered as everything is."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from agents.budget import Meter
from agents.captions import Words
from agents.engine import Engine, Picture, Sampling
from agents.ledger import Ledger
from agents.looking import look
from agents.metered import MeteredEngine
from agents.trace import Trace
from tools.footage import Footage
from tools.moment import Moment


class Onlooker:
    """One film, one engine, and whose meter pays. Keeps no frames: a whole film passes by."""

    def __init__(self, video: Footage, engine: Engine, meter: Meter, ledger: Ledger, trace: Trace) -> None:
        self._video = video
        self._engine = engine
        self._ledger = ledger
        self._metered = MeteredEngine(engine, meter, ledger, trace)

    async def look(self, moments: Sequence[Moment]) -> tuple[Picture, ...]:
        """Decode frames off the event loop, in order of time. Raises BadVideo."""
        began, side = perf_counter(), self._engine.side
        seen = await look(self._video, moments, side)
        self._ledger.seconds["decode"] += perf_counter() - began
        self._ledger.degrade(*seen.degraded)
        frames = {frame.time: frame for frame in seen.frames}
        return tuple(Picture(frames[time], f"{self._video.id}:{time:.6f}:{side}") for time in sorted(frames))

    async def describe(self, pictures: Sequence[Picture], text: str, sampling: Sampling, purpose: str) -> Words:
        """The model's words about some pictures. Raises BudgetExceeded, EngineError, TooLong."""
        began = perf_counter()
        generation = await self._metered.generate(pictures, text, sampling, 1, purpose=purpose, shrink=False)
        cost = {
            "calls": 1.0,
            "frames": float(len(pictures)),
            "prompt_tokens": float(generation.prompt_tokens),
            "completion_tokens": float(generation.completion_tokens),
            "seconds": perf_counter() - began,
        }
        self._ledger.caption(cost)
        return Words(generation.replies[0].text, cost)

    def degrade(self, reason: str) -> None:
        """Tell whoever pays what could not be done as it should be."""
        self._ledger.degrade(reason)
