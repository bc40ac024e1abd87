"""What comes before a question: instructions, earlier turns, and the pictures in the first of them."""

import pytest

from agents.core.model_client import opening_prompt
from agents.core.question import HistoryTurn, Question
from agents.engines.base import Picture
from tests.agents.stage import Perform

FIRST, REPLY = HistoryTurn(role="user", text="What is it?"), HistoryTurn(role="assistant", text="A star.")


def parts(question: Question, perform: Perform) -> list[tuple[str, list[str]]]:
    """Each turn of the one prompt: its role, and its parts with `#` for a picture."""
    done = perform({"name": "direct", "frames": 2}, ["red"], question=question)
    (call,) = done.calls
    return [(turn.role, ["#" if isinstance(p, Picture) else p for p in turn.parts]) for turn in call.prompt]


def test_instructions_are_the_systems_and_pictures_belong_to_the_first_question(perform: Perform) -> None:
    question = Question(text="Its colour?", kind="open", instructions="Be brief.", history=(FIRST, REPLY))
    assert parts(question, perform) == [
        ("system", ["Be brief."]),
        ("user", ["#", "#", "\nWhat is it?"]),
        ("assistant", ["A star."]),
        ("user", ["Its colour?"]),
    ]


def test_turns_of_one_speaker_are_one_turn(perform: Perform) -> None:
    question = Question(text="Its colour?", kind="open", history=(REPLY, REPLY, FIRST))
    assert parts(question, perform) == [
        ("assistant", ["A star.", "\nA star."]),
        ("user", ["#", "#", "\nWhat is it?", "\nIts colour?"]),
    ]


def test_without_a_history_there_is_one_turn(perform: Perform) -> None:
    assert parts(Question(text="Its colour?", kind="open"), perform) == [("user", ["#", "#", "\nIts colour?"])]


@pytest.mark.parametrize("name", ["best_of_n", "self_consistency"])
def test_every_call_of_a_run_begins_so(name: str, perform: Perform) -> None:
    question = Question(text="Its colour?", instructions="Be brief.", history=(FIRST, REPLY))
    spec = {"name": name, "samples": 2, "frames": 2}
    done = perform(spec, lambda _, sampling, n: [{"yes": 0.6, "no": 0.4} if sampling.choices else "red"] * n,
                   question=question)  # fmt: skip
    assert len(done.calls) > 1
    assert all([turn.role for turn in call.prompt] == ["system", "user", "assistant", "user"] for call in done.calls)
    assert opening_prompt(question)[0].parts == ("Be brief.",)
