"""Values are parsed from replies of every kind of question, and nothing of an open answer is lost."""

import pytest

from agents.core.question import Question
from agents.engines.base import Reply, Token
from agents.parsing.answers import parse_answer, parse_sample, stated_answer
from tests.agents.stage import COLOURS, HOW_MANY, IS_IT, WHAT, Perform


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("B. green", "B"),
        ("Option C", "C"),
        ("green", "B"),
        ("The green one", "B"),
        ("**D**", "D"),
        ("Answer: A", "A"),
        ("A dog runs. The answer is C.", "C"),
        ("<think>A or B</think><answer>D</answer>", "D"),
        ("<think>never closed A", None),
        ("Answer: A\nno wait\nAnswer: B", "B"),
        ("E", None),
        ("red or green", None),
        ("A dog is running over a bridge", None),
        ("", None),
        ("Answer:", None),
        ("1", None),
    ],
)
def test_multiple_choice_by_letter_or_by_text(text: str, value: str | None) -> None:
    assert parse_answer(COLOURS, text) == value


def test_an_option_that_contains_another_is_told_apart() -> None:
    question = Question(text="?", options=("star", "red star"), kind="choice")
    assert parse_answer(question, "star") == "A"
    assert parse_answer(question, "red star") == "B"


def test_options_that_are_letters_themselves_are_read_as_text_first() -> None:
    question = Question(text="Which letter is shown?", options=("B", "A"), kind="choice")
    assert parse_answer(question, "B") == "A", "the reply is the text of the first option"


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", "3"), ("3.0", "3"), ("There are 3 stars", "3"), ("three", "3"), ("1,200", "1200"), ("-2.5", "-2.5"),
     ("2 or 3", None), ("many", None), ("I counted 2, then 3. Answer: 5", "5"), ("v2", None)],
)  # fmt: skip
def test_number(text: str, value: str | None) -> None:
    assert parse_answer(HOW_MANY, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("Yes, it is", "yes"),
        ("yes and no", None),
        ("maybe", None),
        ("know", None),
    ],
)
def test_yes_or_no(text: str, value: str | None) -> None:
    assert parse_answer(IS_IT, text) == value


def test_open_text_is_compared_without_case_articles_and_punctuation() -> None:
    assert parse_answer(WHAT, "The Eiffel-Tower!") == parse_answer(WHAT, "eiffel tower")
    assert parse_answer(WHAT, " ... ") is None


DESCRIBE = Question(text="Describe the film.", kind="open", max_tokens=200)
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
    assert stated_answer(DESCRIBE, reply) == words
    assert (parse_answer(DESCRIBE, reply) is None) == (words == "")


def test_the_question_is_asked_as_it_stands(perform: Perform) -> None:
    done = perform({"name": "direct", "frames": 2}, [LONG], question=DESCRIBE)
    assert done.calls[0].text.endswith("\nDescribe the film.")
    assert done.calls[0].sampling.max_tokens == 200
    assert done.run.display(done.value or "") == LONG


def test_a_thought_has_room_beside_the_answer(perform: Perform) -> None:
    spec = {"name": "chain_of_thought", "frames": 2, "max_tokens": 100}
    done = perform(spec, [f"I see.\nAnswer: {LONG}"], question=DESCRIBE)
    assert done.calls[0].sampling.max_tokens == 300
    assert done.calls[0].text.endswith('then end with "Answer: " and your whole answer.')
    assert done.run.display(done.value or "") == LONG


def test_an_answer_that_is_cut_off_is_still_one_and_as_sure_as_its_tokens() -> None:
    tokens = (Token("A red", -0.1), Token(" star", -0.3))
    read_ = parse_sample(DESCRIBE, Reply("A red star", tokens, "length"))
    assert read_.display == "A red star"
    assert read_.confidence == pytest.approx(0.8187, abs=1e-4)


def test_a_few_words_are_still_asked_for_otherwise(perform: Perform) -> None:
    done = perform("direct", ["a star"], question=Question(text="What is it?"))
    assert "Answer in a few words." in done.calls[0].text
