"""Questions that ask for whatever they ask for: nothing is added to them, and nothing of the reply is lost."""

import pytest

from agents.answer import Question
from agents.engine import Reply, Token
from agents.parse import read, stated
from agents.sample import sample
from tests.agents.stage import Perform

DESCRIBE = Question(text="Describe the film.", kind="open", length=200)
LONG = "A red star.\n\nThen:\n- a **blue** circle."


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (LONG, LONG),
        (f"<think>hm</think>{LONG}", LONG),
        (f"First I see red.\nAnswer: {LONG}", LONG),
        (f"I see red.\n**Answer:**\n{LONG}", LONG),
        ("The answer is blowing in the wind.", "The answer is blowing in the wind."),
        ("!!!", "!!!"),
        ("<think>never closed", ""),
    ],
)
def test_the_whole_answer_is_read(reply: str, words: str) -> None:
    assert stated(DESCRIBE, reply) == words
    assert (read(DESCRIBE, reply) is None) == (words == "")


def test_the_question_is_asked_as_it_stands(perform: Perform) -> None:
    done = perform({"name": "direct", "frames": 2}, [LONG], question=DESCRIBE)
    assert done.calls[0].text.endswith("\nDescribe the film.")
    assert done.calls[0].sampling.max_tokens == 200
    assert done.run.show(done.value or "") == LONG


def test_a_thought_has_room_beside_the_answer(perform: Perform) -> None:
    spec = {"name": "chain_of_thought", "frames": 2, "max_tokens": 100}
    done = perform(spec, [f"I see.\nAnswer: {LONG}"], question=DESCRIBE)
    assert done.calls[0].sampling.max_tokens == 300
    assert done.calls[0].text.endswith('then end with "Answer: " and your whole answer.')
    assert done.run.show(done.value or "") == LONG


def test_an_answer_that_is_cut_off_is_still_one_and_as_sure_as_its_tokens() -> None:
    tokens = (Token("A red", -0.1), Token(" star", -0.3))
    read_ = sample(DESCRIBE, Reply("A red star", tokens, "length"))
    assert read_.words == "A red star"
    assert read_.confidence == pytest.approx(0.8187, abs=1e-4)


def test_a_few_words_are_still_asked_for_otherwise(perform: Perform) -> None:
    done = perform("direct", ["a star"], question=Question(text="What is it?"))
    assert "Answer in a few words." in done.calls[0].text
