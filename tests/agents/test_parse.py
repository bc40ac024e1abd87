import pytest

from agents.answer import Question
from agents.parse import read
from tests.agents.stage import COLOURS, HOW_MANY, IS_IT, WHAT


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
    assert read(COLOURS, text) == value


def test_an_option_that_contains_another_is_told_apart() -> None:
    question = Question(text="?", options=("star", "red star"), kind="choice")
    assert read(question, "star") == "A"
    assert read(question, "red star") == "B"


def test_options_that_are_letters_themselves_are_read_as_text_first() -> None:
    question = Question(text="Which letter is shown?", options=("B", "A"), kind="choice")
    assert read(question, "B") == "A", "the reply is the text of the first option"


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", "3"), ("3.0", "3"), ("There are 3 stars", "3"), ("three", "3"), ("1,200", "1200"), ("-2.5", "-2.5"),
     ("2 or 3", None), ("many", None), ("I counted 2, then 3. Answer: 5", "5"), ("v2", None)],
)  # fmt: skip
def test_number(text: str, value: str | None) -> None:
    assert read(HOW_MANY, text) == value


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
    assert read(IS_IT, text) == value


def test_open_text_is_compared_without_case_articles_and_punctuation() -> None:
    assert read(WHAT, "The Eiffel-Tower!") == read(WHAT, "eiffel tower")
    assert read(WHAT, " ... ") is None
