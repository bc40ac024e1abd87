"""A stage on which strategies perform: a real video, a scripted engine."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents.core.budget import Budget
from agents.core.question import Question
from agents.core.run import Run
from agents.core.runner import RunOutcome, run_strategy
from agents.engines.scripted import RecordedCall, Script, ScriptedEngine
from agents.presets import Catalogue
from tools.index.index import Index
from tools.video.sampling import Span
from tools.video.video import Video

COLOURS = Question(text="Which colour?", options=("red", "green", "blue", "grey"), kind="choice")
HOW_MANY = Question(text="How many?", kind="number")
WHAT = Question(text="What is it?", kind="text")
DESCRIBE = Question(text="Describe it.", kind="open", max_tokens=64)
IS_IT = Question(text="Is it red?", kind="yesno")

Perform = Callable[..., "Performance"]
CATALOGUE = Catalogue.load()
_LOOP = asyncio.Runner()  # one loop with one pool of threads: to start them takes longer than most performances
atexit.register(_LOOP.close)


@dataclass(frozen=True)
class Performance:
    """What came of a strategy: the outcome, the run, and the engine with the calls that it saw."""

    outcome: RunOutcome
    run: Run
    engine: ScriptedEngine

    @property
    def value(self) -> str | None:
        return self.outcome.answer.value

    @property
    def confidence(self) -> float | None:
        return self.outcome.answer.confidence

    @property
    def stopped(self) -> str:
        return self.outcome.stopped

    @property
    def calls(self) -> list[RecordedCall]:
        return self.engine.calls

    @property
    def frames(self) -> list[int]:
        """Frames of each call."""
        return [call.frames for call in self.calls]

    @property
    def samples(self) -> list[int]:
        """Replies asked for in each call."""
        return [call.n for call in self.calls]


def play(
    video: Video,
    spec: str | dict[str, Any],
    script: Script,
    *,
    question: Question = COLOURS,
    budget: Budget | None = None,
    seed: int = 0,
    index: Index | None = None,
    span: Span | None = None,
    **engine: Any,
) -> Performance:
    """Run a strategy against a script."""
    scripted = ScriptedEngine(script, **engine)
    opened = None if index is None else lambda: index
    run = Run(question, video, scripted, budget=budget, seed=seed, index=opened, span=span)
    outcome = _LOOP.run(run_strategy(CATALOGUE.resolve(spec), run))
    return Performance(outcome, run, scripted)


def sure(letter: str, probability: float, of: str = "ABCD") -> dict[str, float]:
    """A distribution over letters with one favourite."""
    rest = (1 - probability) / (len(of) - 1)
    return {each: probability if each == letter else rest for each in of}


def thoughts(*letters: str) -> list[str]:
    """Chains of thought that end in these letters; "?" is one that states no answer."""
    return ["I cannot tell" if letter == "?" else f"I see something. Answer: {letter}" for letter in letters]
