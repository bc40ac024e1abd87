"""One lesson: a film's frames and several turns about them, each with what the model should say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from agents.answer import Question
from agents.demo.questions import DemoQuestion
from agents.demo.reply import conclusion, transcript
from agents.demo.view import Sight, View
from agents.demo.wording import describe_text, fact_text, question_text, verify_text
from agents.demo.world import COLOURS, DIRECTIONS, SHAPES

FORMS = ("think", "fact", "direct", "open", "verify", "describe")
_THOUGHT = 0.25  # weight of a thought's words in the loss; the final answer's is 1


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says after the frames, and what to reply: pieces with their weight in the loss.

    `about` is the question within `ask` up to its question mark, and `value` the word that answers it. Pieces without
    weight are what others say in between. `sights` are the pictures shown in this turn alone, in order.
    """

    ask: str
    reply: tuple[tuple[str, float], ...]
    about: str = ""
    value: str = ""
    sights: tuple[Sight, ...] = ()


def turn(question: DemoQuestion, view: View, form: str, rng: Random) -> Turn:
    """A turn of the given form about a question."""
    if form == "describe":
        return describe(view, rng)
    return replace(_turn(question, view, form, rng), about=question.text[:-1], value=question.answer)


def _turn(question: DemoQuestion, view: View, form: str, rng: Random) -> Turn:
    if form == "verify":
        return _verify(question, rng)
    posed = as_choice(question, rng) if form == "direct" or rng.random() < 0.7 else as_open(question)
    final = question.answer
    if form in ("direct", "open"):
        return Turn(question_text(posed, "direct", rng), ((final, 1.0),))
    fact = conclusion(question, view)
    ask = question_text(posed, "think", rng) if form == "think" else fact_text(posed, rng)
    # A thought is the fact that decides. Whole transcripts were tried before it and not learned: greedy ones loop.
    return Turn(ask, ((fact, 1.0), (". Answer:", _THOUGHT), (f" {final}", 1.0)))


def describe(view: View, rng: Random) -> Turn:
    """A turn that asks for everything that is seen."""
    return Turn(describe_text(rng), ((transcript(view), _THOUGHT),))


def as_choice(question: DemoQuestion, rng: Random) -> Question:
    """The question as multiple choice; now and then with fewer or more options than usual."""
    options = list(question.options or ("yes", "no"))
    if question.options and rng.random() < 0.2:
        others = [value for value in _values(question) if value != question.answer]
        options = [question.answer, *rng.sample(others, rng.randint(1, len(others)))]
    rng.shuffle(options)
    return Question(text=question.text, options=tuple(options), kind="choice")


def as_open(question: DemoQuestion) -> Question:
    """The question without options."""
    kind = {"count": "number", "appears": "yesno"}.get(question.kind, "text")
    return Question.model_validate({"text": question.text, "kind": kind})


def _verify(question: DemoQuestion, rng: Random) -> Turn:
    true = rng.random() < 0.5
    others = [value for value in question.options or ("yes", "no") if value != question.answer]
    proposed = question.answer if true else rng.choice(others)
    return Turn(verify_text(as_open(question), proposed, rng), (("yes" if true else "no", 1.0),))


def _values(question: DemoQuestion) -> tuple[str, ...]:
    for values in (COLOURS, SHAPES, DIRECTIONS):
        if question.answer in values:
            return values if question.kind != "after" else question.options
    return question.options
