"""An answer stated once more, as JSON of the caller's schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from agents.answer import Answer
from agents.budget import BudgetExceeded
from agents.engine import EngineError, Sampling, TooLong
from agents.prompts import form
from agents.run import Run
from agents.schema import Schema
from agents.slots import read_object

_HEATS = (0.0, 0.7)
"""Temperatures of the tries: what was wrong once is wrong again without heat."""
_INSTANT = 0.001


async def stated(run: Run, answer: Answer, words: str, schema: Schema, max_tokens: int) -> dict[str, Any] | None:
    """JSON that says what the answer says; None if the model does not manage it within the budget.

    `words` are the answer as the caller wants to read it. They are put in by themselves where the schema has one
    place for them. Otherwise the model is asked, with the frames of its last look and up to `max_tokens` to write.
    """
    if not schema.whole:
        run.ledger.degrade("json_schema: regular expressions in it are not checked")
    found = _filled(run, answer, words, schema)
    if found is None and (found := await _written(run, words, schema, max_tokens)) is None:
        found = await _checked({"answer": words}, schema)  # any object will do for a schema that only asks for one
    if found is None:
        run.ledger.degrade("json_schema: the answer could not be stated in it")
    return found


def _filled(run: Run, answer: Answer, words: str, schema: Schema) -> dict[str, Any] | None:
    """The one field of the schema with the answer in it, in whichever of its forms the schema takes."""
    fields = schema.source.get("properties", {})
    wanted = schema.source.get("required", list(fields))
    if len(wanted) != 1 or wanted[0] not in fields or len(fields) != 1 or answer.value is None:
        return None
    ways: list[Any] = [words, run.show(answer.value), answer.value]
    if run.question.kind == "yesno":
        ways.append(answer.value == "yes")
    if run.question.kind == "number":
        number = float(answer.value)
        ways[:0] = [int(number)] if number.is_integer() else [number]
    return next((made for way in ways if schema.accepts(made := {wanted[0]: way})), None)


async def _written(run: Run, words: str, schema: Schema, max_tokens: int) -> dict[str, Any] | None:
    held = "schema" in run.offers
    text = form(run.question, words, json.dumps(schema.source, ensure_ascii=False))
    for heat in _HEATS:
        sampling = Sampling(temperature=heat, max_tokens=max_tokens, schema=schema.source if held else None)
        try:
            async with asyncio.timeout(_left(run)):
                reply = await run.say(run.seen, text, sampling, "form")
        except (BudgetExceeded, TimeoutError, EngineError, TooLong) as problem:
            run.ledger.degrade(f"json_schema: {problem or 'out of seconds'}")
            return None
        if (found := await _checked(read_object(reply.text), schema)) is not None:
            return found
    return None


async def _checked(value: Mapping[str, Any] | None, schema: Schema) -> dict[str, Any] | None:
    """The value if it follows the schema; off the event loop, since that may take a while."""
    if value is None or not await asyncio.to_thread(schema.accepts, value):
        return None
    return dict(value)


def _left(run: Run) -> float | None:
    """Seconds of the budget that are left."""
    return None if run.budget.seconds is None else max(_INSTANT, run.budget.seconds - run.trace.seconds)
