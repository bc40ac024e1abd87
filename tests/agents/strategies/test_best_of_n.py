import pytest

from agents.core.runner import UnfitEngine, check_engine
from agents.engines.scripted import ScriptedEngine
from agents.presets import Catalogue
from tests.agents.stage import Perform, thoughts


def yes(probability: float) -> dict[str, float]:
    return {"yes": probability, "no": 1 - probability}


def test_each_different_answer_is_judged_once_and_the_likeliest_wins(perform: Perform) -> None:
    spec = {"name": "best_of_n", "samples": 4, "frames": 8}
    done = perform(spec, [*thoughts(*"AAAB"), yes(0.3), yes(0.9)])
    assert (done.frames, done.samples) == ([8, 8, 8], [4, 1, 1])
    assert done.value == "B", "the minority answer that the judge believes"
    assert done.confidence == pytest.approx(0.75)


def test_the_judge_sees_the_answer_but_neither_options_nor_reasoning(perform: Perform) -> None:
    done = perform({"name": "best_of_n", "samples": 1}, [*thoughts("C"), yes(0.5)])
    question = done.calls[1].text
    assert "Proposed answer: blue" in question
    assert "A. red" not in question
    assert "I see something" not in question


def test_nothing_readable_is_said_and_not_guessed(perform: Perform) -> None:
    done = perform({"name": "best_of_n", "samples": 3}, thoughts(*"???"))
    assert (done.value, done.stopped, len(done.calls)) == (None, "unparsed", 1)


def test_an_engine_without_choices_is_refused_before_anything_is_spent() -> None:
    with pytest.raises(UnfitEngine, match="best_of_n needs choices"):
        check_engine(Catalogue.load().resolve("best_of_n"), ScriptedEngine([], capabilities=frozenset()))
