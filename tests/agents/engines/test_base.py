"""A new engine is one small class and one line of registry."""

from __future__ import annotations

import asyncio

import pytest

from agents.core.run import Run
from agents.core.runner import run_strategy
from agents.engines import registry
from agents.engines.base import Engine, EngineError, Generation, OnText, Prompt, Reply, Sampling, prompt_token_bound
from agents.engines.registry import open_engine
from agents.presets import Catalogue
from tests.agents.engines.strip import strip
from tests.agents.stage import COLOURS
from tools.video.video import Video

CATALOGUE = Catalogue.load()


class FirstChoice(Engine):
    """Always takes the first choice; ignores what streams."""

    model = "first-choice"
    side = 224

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, _: OnText | None = None) -> Generation:
        reply = Reply(sampling.choices[0] if sampling.choices else "Answer: A")
        return Generation((reply,) * n, prompt_token_bound(self, prompt), n)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the new engine, once its line is in the registry."""
    monkeypatch.setitem(registry.ENGINES, "first", f"{__name__}:FirstChoice")
    return "first:"


@pytest.mark.parametrize("name", CATALOGUE.names)
def test_every_preset_runs_on_it(video: Video, url: str, name: str) -> None:
    strategy = CATALOGUE.resolve(name)
    engine = open_engine(url)
    if strategy.required_capabilities() - engine.capabilities:
        pytest.skip("asks for more than text")
    outcome = asyncio.run(run_strategy(strategy, Run(COLOURS, video, engine)))
    assert outcome.answer.value == "A"


def test_it_has_defaults_for_all_else(url: str) -> None:
    engine, prompt = open_engine(url), strip(3, "?")
    assert (engine.model, engine.side, engine.min_side, engine.answer_format) == ("first-choice", 224, 224, "letter")
    assert engine.capabilities == frozenset()
    assert (engine.frames, engine.context, engine.max_pictures, engine.problem) == (None, None, None, None)
    assert engine.picture_tokens(prompt) == 3 * engine.frame_tokens(56)
    assert engine.for_tenant("me") is engine
    assert asyncio.run(engine.count("four")) == 4
    asyncio.run(engine.probe())
    asyncio.run(engine.close())


@pytest.mark.parametrize("rest", ["place", "?colour=red"])
def test_it_takes_no_address_unless_it_says_so(url: str, rest: str) -> None:
    with pytest.raises(EngineError, match="neither an address nor options"):
        open_engine(url + rest)
