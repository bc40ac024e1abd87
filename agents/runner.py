"""Conduct a strategy: whatever limit it meets, the best answer so far comes back with its bill."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from agents.answer import Answer, Stop
from agents.budget import BudgetExceeded
from agents.engine import Engine, EngineError, TooLong
from agents.run import Run
from agents.strategy import Strategy
from agents.trace import Stopped


class UnfitEngine(Exception):
    """The caller chose a strategy that needs what this engine does not offer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: the answer, and why the run stopped. The bill is in the run's ledger."""

    answer: Answer
    stopped: Stop
    strategy: dict[str, Any]


def check(strategy: Strategy, engine: Engine) -> None:
    """Raise UnfitEngine if the engine lacks what the strategy needs."""
    if missing := strategy.requires() - engine.offers:
        lacks = " and ".join(sorted(missing))
        raise UnfitEngine(f"{strategy.name} needs {lacks}, which {engine.model} does not offer.")


async def conduct(strategy: Strategy, run: Run) -> Outcome:
    """Run a strategy to its end, or to the first limit; then the last proposal is the answer.

    Raises EngineError or TooLong if it comes before anything was proposed, BadVideo if nothing can be seen.
    """
    try:
        async with asyncio.timeout(run.budget.seconds):
            answer = await strategy.answer(run)
        stopped = answer.stopped
    except (BudgetExceeded, TimeoutError) as limit:
        answer, stopped = run.best or Answer(value=None), "budget"
        run.ledger.degrade(f"budget: {limit}" if str(limit) else "budget: out of seconds")
    except (EngineError, TooLong) as error:
        if run.best is None:
            raise
        failed = isinstance(error, EngineError)
        answer, stopped = run.best, "engine" if failed else "budget"
        run.ledger.degrade(f"{'engine' if failed else 'context'}: {error}")
    finally:
        run.close()
    if answer.value is None and stopped == "unreadable":
        run.ledger.degrade("no reply of the model could be read as an answer")
    run.trace.add(Stopped(reason=stopped))
    return Outcome(answer, stopped, strategy.model_dump(mode="json"))
