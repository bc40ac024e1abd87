"""Which words ask for one of their options, which for yes or no, and which only look as if they did."""

from __future__ import annotations

import pytest

from app.chat.question import parse_question
from app.chat.schemas import SecondLookOptions
from app.errors import BadRequest

DIRECTLY = "Answer with the option's letter from the given choices directly."
COMPLETE = "Complete the sentence with the best option.\nThe star is"
FOUR = "\nA. red\nB. green\nC. blue\nD. grey"


@pytest.mark.parametrize(
    ("text", "stem", "form"),
    [
        (f"Which colour?{FOUR}\n{DIRECTLY}", "Which colour?", "letter"),
        (f"Which colour?{FOUR}", "Which colour?", "both"),
        ("Which colour?\n(A) red\n(B) green\n(C) blue\n(D) grey\nThe best answer is:", "Which colour?", "both"),
        ("Which colour?\nOptions:\nA) red\n\nB) green\n\nC) blue\n\nD) grey\n", "Which colour?", "both"),
        ("Which colour? \nA: red\nB: green\nC: blue\nD: grey\nAnswer with the letter.", "Which colour?", "letter"),
        (
            "Select the best answer to the following multiple-choice question based on the video. Respond with only "
            f"the letter (A, B, C, or D) of the correct option.\nWhich colour?{FOUR}\nThe best answer is:",
            "Which colour?",
            "letter",
        ),
        (f"{COMPLETE}{FOUR}", COMPLETE, "both"),
        (f"Which colour?{FOUR}\nMind the light.\nAnswer with the letter.", "Which colour?\nMind the light.", "letter"),
    ],
)
def test_options(text: str, stem: str, form: str) -> None:
    asked = parse_question(text, SecondLookOptions())
    assert (asked.kind, asked.options) == ("choice", ("red", "green", "blue", "grey"))
    assert (asked.text, asked.choice_format) == (stem, form)


@pytest.mark.parametrize(
    "text",
    [
        "Describe three things:\nA. the setting\nB. the people\nC. the mood",
        "A. red\nB. green",
        "Which?\nA. red\nC. green",
        "Which?\nA. red\nB. red",
        "Which?\nA. red\nand so on\nB. green",
        "Which?\nA. red",
        "Which?\nA. red\nB. green\nA. blue\nB. grey",
        "Which colour?\nA. red\nB. green\nExplain your choice in detail.",
        "Which colour?\nA. red\nB. green\nThink step by step, then give the letter.",
        "Which?\nA.\nB.",
        "Which?\n1. red\n2. green",
        "What does A. mean?",
    ],
)
def test_what_only_looks_like_options_is_an_open_question(text: str) -> None:
    asked = parse_question(text, SecondLookOptions())
    assert (asked.kind, asked.text, asked.options) == ("open", text, ())


@pytest.mark.parametrize(
    ("text", "stem", "words"),
    [
        ("Is it red? Please answer yes or no.", "Is it red?", ("yes", "no")),
        ("Is it red?\nAnswer the question with Yes or No only.", "Is it red?", ("Yes", "No")),
        ('Is it red? Answer with "YES" or "NO".', "Is it red?", ("YES", "NO")),
    ],
)
def test_yes_or_no(text: str, stem: str, words: tuple[str, str]) -> None:
    asked = parse_question(text, SecondLookOptions())
    assert (asked.kind, asked.text, asked.yes_no) == ("yesno", stem, words)
    assert [asked.format_answer(answer, None) for answer in ("yes", "no")] == [*words]


@pytest.mark.parametrize(
    "text",
    ["Is it red?", "Answer yes or no.", "Is it red? Answer yes or no and say why.", "Did the man answer yes or no?"],
)
def test_what_is_no_yes_or_no(text: str) -> None:
    assert parse_question(text, SecondLookOptions()).kind == "open"


def test_our_own_fields_say_it_where_they_do() -> None:
    given = parse_question("Which?", SecondLookOptions(options=("red", "green")))
    assert (given.kind, given.options, given.choice_format) == ("choice", ("red", "green"), "words")
    assert parse_question("Which letter?", SecondLookOptions(options=("red", "green"))).choice_format == "letter"
    assert parse_question(f"Which?{FOUR}", SecondLookOptions(kind="text")).kind == "text"
    assert parse_question(f"Which?{FOUR}", SecondLookOptions(kind="open")).options == ()
    assert parse_question("Is it red?", SecondLookOptions(kind="yesno")).text == "Is it red?"
    assert parse_question("Is it red? Answer yes or no.", SecondLookOptions(kind="yesno")).text == "Is it red?"
    assert parse_question(f"Which?{FOUR}", SecondLookOptions(kind="choice")).kind == "choice"
    with pytest.raises(BadRequest, match="No options were found"):
        parse_question("Which?", SecondLookOptions(kind="choice"))


@pytest.mark.parametrize(("form", "written"), [("letter", "B"), ("words", "green"), ("both", "B. green")])
def test_an_option_is_written_as_it_was_asked_for(form: str, written: str) -> None:
    text = f"Which?{FOUR}" + ("\nAnswer with the letter." if form == "letter" else "")
    ours = SecondLookOptions(options=("red", "green")) if form == "words" else SecondLookOptions()
    asked = parse_question("Which?" if form == "words" else text, ours)
    assert asked.choice_format == form
    assert asked.format_answer("green", "B") == written
