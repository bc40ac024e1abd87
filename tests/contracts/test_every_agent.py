"""What every program that searches, gathers or sits keeps, whatever a model that can call tools or fill slots says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from agents.core.budget import Budget
from agents.engines.base import Prompt, Reply, Sampling, ToolCall
from agents.engines.scripted import ScriptLine
from agents.presets import Catalogue
from tests.agents.planner.stage import KNOWN, NATIVE, SLOTS
from tests.agents.stage import play
from tools.index.index import Index
from tools.video.video import Video

CATALOGUE = Catalogue.load()
NAMES = [n for n in CATALOGUE.names if CATALOGUE.resolve(n).name in ("planner", "investigate", "committee")]
NONSENSE: tuple[Any, ...] = (None, "", "soon", -1, 1e30, [], {}, [3, 1], True, "</data>", "\x00", "5", 12.5, "NaN", "A")
NAMES_OF_TOOLS = ("view", "zoom", "search_clips", "ask", "submit", "overview", "teleport", "", "read_subtitles")
FIELDS = ("start", "end", "time", "box", "query", "question", "answer", "frames", "fps", "ranges", "times", "top_k")


def arguments(random: Random) -> dict[str, Any]:
    return {field: random.choice(NONSENSE) for field in random.sample(FIELDS, random.randrange(5))}


def hostile(_: Prompt, sampling: Sampling, n: int) -> Iterable[ScriptLine]:
    """A model whose calls and slots are nonsense, of which some happens to be right."""
    random = Random(sampling.seed or 0)
    if sampling.choices:
        weights = [random.random() for _ in sampling.choices]
        return [{choice: w / sum(weights) for choice, w in zip(sampling.choices, weights, strict=True)}] * n
    return [_reply(random, sampling) for _ in range(n)]


def _reply(random: Random, sampling: Sampling) -> Reply:
    if sampling.tools:
        chosen = random.choices(NAMES_OF_TOOLS, k=random.randrange(4))
        texts = [random.choice((json.dumps(arguments(random)), "{", "[]", "", "view")) for _ in chosen]
        called = tuple(ToolCall(str(i), name, text) for i, (name, text) in enumerate(zip(chosen, texts, strict=True)))
        return Reply(
            random.choice(("", "Answer: A", "hm")), finish=random.choice(("stop", "calls", "length")), calls=called
        )
    if sampling.schema:
        return Reply(_filled(random, sampling.schema), finish=random.choice(("stop", "stop", "stop", "length")))
    return Reply(random.choice(("", "Answer: A", "view 1 2", "<think>", "{" * 50)))


def _filled(random: Random, schema: Any) -> str:
    """JSON of a schema whose numbers and words are nonsense."""
    return json.dumps(_value(random, schema)) if random.random() < 0.8 else random.choice(("", "{", "null", "[]"))


def _value(random: Random, schema: Any) -> Any:
    if "anyOf" in schema:
        return _value(random, random.choice(schema["anyOf"]))
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return random.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return {name: _value(random, shape) for name, shape in schema["properties"].items()}
    if kind == "array":
        least = schema.get("minItems", 0)
        return [_value(random, schema["items"]) for _ in range(random.randrange(least, least + 3))]
    if kind == "boolean":
        return random.random() < 0.5
    if kind in ("number", "integer"):
        return random.choice((-5, 0, 1, 3, 30.5, 64, 1000, 1e12))
    return random.choice(("", "red", "A", "</data> submit blue", "x" * 2000))


@pytest.mark.parametrize("capabilities", [NATIVE, SLOTS], ids=["native", "slots"])
@pytest.mark.parametrize("name", NAMES)
def test_nonsense_brings_an_answer_within_the_budget(name: str, capabilities: frozenset[str], video: Video) -> None:
    budgets = (None, Budget(calls=5), Budget(frames=60, tokens=20_000))
    for seed, budget in enumerate(budgets):
        done = play(video, name, hostile, capabilities=capabilities, budget=budget, seed=seed, index=Index(64.0, KNOWN))
        ledger, limit = done.run.usage, budget or Budget()
        assert done.value in ("A", "B", "C", "D")
        assert ledger.calls <= (limit.calls or 10**9)
        assert ledger.frames_viewed <= (limit.frames or 10**9)
        assert ledger.prompt_tokens + ledger.completion_tokens <= (limit.tokens or 10**9)
        assert all(0 <= each.start < each.end <= 64 for each in done.outcome.answer.evidence)
        for each in done.calls:
            assert_wellformed(each.prompt)


def assert_wellformed(prompt: Prompt) -> None:
    """A conversation that a server takes: every call is answered at once, and nobody speaks twice in a row."""
    for place, message in enumerate(prompt):
        open_calls = list(message.calls)
        for answer in prompt[place + 1 : place + 1 + len(open_calls)]:
            assert answer.role == "tool"
            assert answer.call in open_calls
        assert message.role == "tool" or place == 0 or prompt[place - 1].role != message.role
        assert message.parts or message.calls
