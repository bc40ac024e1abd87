"""Run a strategy to its end or to its first limit, and restate the answer as JSON of a caller's schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.core.budget import BudgetExceeded
from agents.core.question import Answer, StopReason
from agents.core.run import Run
from agents.core.trace import StopEvent
from agents.engines.base import Engine, EngineError, PromptTooLong, Sampling
from agents.parsing.json_schema import AnswerSchema
from agents.parsing.structured import parse_json_object
from agents.prompts.questions import restate
from agents.strategies.base import Strategy


class UnfitEngine(Exception):
    """The caller chose a strategy that needs what this engine does not offer."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """A finished run: the answer, and why the run stopped. What it cost is in the run's usage."""

    answer: Answer
    stopped: StopReason
    strategy: dict[str, Any]


def check_engine(strategy: Strategy, engine: Engine) -> None:
    """Raise UnfitEngine if the engine lacks what the strategy needs."""
    if missing := strategy.required_capabilities() - engine.capabilities:
        lacks = " and ".join(sorted(missing))
        raise UnfitEngine(f"{strategy.name} needs {lacks}, which {engine.model} does not offer.")


async def run_strategy(strategy: Strategy, run: Run) -> RunOutcome:
    """Run a strategy to its end, or to the first limit; then the last proposal is the answer.

    Raises EngineError or PromptTooLong if it comes before anything was proposed, BadVideo if nothing can be seen.
    """
    try:
        async with asyncio.timeout(run.budget.seconds):
            answer = await strategy.answer(run)
        stopped = answer.stopped
    except (BudgetExceeded, TimeoutError) as limit:
        answer, stopped = run.best_answer or Answer(value=None), "budget"
        run.usage.add_degradation(f"budget: {limit}" if str(limit) else "budget: out of seconds")
    except (EngineError, PromptTooLong) as error:
        if run.best_answer is None:
            raise
        failed = isinstance(error, EngineError)
        answer, stopped = run.best_answer, "engine" if failed else "budget"
        run.usage.add_degradation(f"{'engine' if failed else 'context'}: {error}")
    finally:
        run.close()
    if answer.value is None and stopped == "unparsed":
        run.usage.add_degradation("no reply of the model could be read as an answer")
    run.trace.add(StopEvent(reason=stopped))
    return RunOutcome(answer, stopped, strategy.model_dump(mode="json"))


_TEMPERATURES = (0.0, 0.7)
"""Temperatures of the tries: what was wrong once is wrong again without heat."""
_MIN_SECONDS = 0.001


async def restate_as_json(
    run: Run, answer: Answer, words: str, schema: AnswerSchema, max_tokens: int
) -> dict[str, Any] | None:
    """JSON that says what the answer says; None if the model does not manage it within the budget.

    `words` are the answer as the caller wants to read it. They are put in by themselves where the schema has one
    place for them. Otherwise the model is asked, with the frames of its last look and up to `max_tokens` to write.
    """
    if not schema.whole:
        run.usage.add_degradation("json_schema: regular expressions in it are not checked")
    found = _wrap_answer(run, answer, words, schema)
    if found is None and (found := await _write_json(run, words, schema, max_tokens)) is None:
        found = await _checked({"answer": words}, schema)  # any object will do for a schema that only asks for one
    if found is None:
        run.usage.add_degradation("json_schema: the answer could not be stated in it")
    return found


def _wrap_answer(run: Run, answer: Answer, words: str, schema: AnswerSchema) -> dict[str, Any] | None:
    """The one field of the schema with the answer in it, in whichever of its forms the schema takes."""
    fields = schema.source.get("properties", {})
    wanted = schema.source.get("required", list(fields))
    if len(wanted) != 1 or wanted[0] not in fields or len(fields) != 1 or answer.value is None:
        return None
    ways: list[Any] = [words, run.display(answer.value), answer.value]
    if run.question.kind == "yesno":
        ways.append(answer.value == "yes")
    if run.question.kind == "number":
        number = float(answer.value)
        ways[:0] = [int(number)] if number.is_integer() else [number]
    return next((made for way in ways if schema.accepts(made := {wanted[0]: way})), None)


async def _write_json(run: Run, words: str, schema: AnswerSchema, max_tokens: int) -> dict[str, Any] | None:
    held = "schema" in run.capabilities
    text = restate(run.question, words, json.dumps(schema.source, ensure_ascii=False))
    for heat in _TEMPERATURES:
        sampling = Sampling(temperature=heat, max_tokens=max_tokens, schema=schema.source if held else None)
        try:
            async with asyncio.timeout(_seconds_left(run)):
                reply = await run.ask_freely(run.last_pictures, text, sampling, "form")
        except (BudgetExceeded, TimeoutError, EngineError, PromptTooLong) as problem:
            run.usage.add_degradation(f"json_schema: {problem or 'out of seconds'}")
            return None
        if (found := await _checked(parse_json_object(reply.text), schema)) is not None:
            return found
    return None


async def _checked(value: Mapping[str, Any] | None, schema: AnswerSchema) -> dict[str, Any] | None:
    """The value if it follows the schema; off the event loop, since that may take a while."""
    if value is None or not await asyncio.to_thread(schema.accepts, value):
        return None
    return dict(value)


def _seconds_left(run: Run) -> float | None:
    """Seconds of the budget that are left."""
    return None if run.budget.seconds is None else max(_MIN_SECONDS, run.budget.seconds - run.trace.seconds)
