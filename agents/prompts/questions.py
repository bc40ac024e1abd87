"""Every prompt in the service, as functions of the question. Frames come first, whatever varies comes last."""

from __future__ import annotations

from typing import Literal

from agents.core.question import Question, QuestionKind
from agents.engines.base import AnswerFormat

AnswerStyle = Literal["direct", "think"]

_DIRECT: dict[QuestionKind, str] = {
    "choice": "Answer with the letter of the best option only.",
    "text": "Answer in a few words.",
    "number": "Answer with a number only.",
    "yesno": "Answer yes or no only.",
    "open": "",
}
_FINAL: dict[QuestionKind, str] = {
    "choice": "the letter",
    "text": "the answer",
    "number": "the number",
    "yesno": "yes or no",
    "open": "your whole answer",
}


def frame_label(seconds: float) -> str:
    """The words before a frame: when it is shown, in seconds from the start of the video."""
    return f"<{seconds:.1f}s>"


def ask(question: Question, style: AnswerStyle = "direct", answer_format: AnswerFormat = "letter") -> str:
    """The question, its options if any, and how to answer it. An open question says itself how."""
    return f"{statement(question)}\n{instruction(question.kind, style, answer_format)}".rstrip("\n")


def verify(question: Question, answer: str) -> str:
    """A fresh yes-or-no question about a proposed answer, given in words. It shows neither options nor reasoning."""
    return (
        f"Question: {question.text}\nProposed answer: {answer}\nIs the proposed answer correct? Answer yes or no only."
    )


def restate(question: Question, answer: str, schema: str) -> str:
    """State an answer that was found once more, as JSON of a schema."""
    return (
        f"{statement(question)}\nThe answer that was found: {answer}\n"
        "State this answer as one JSON object that follows the JSON schema below, and write nothing else. What the "
        f"schema asks for beyond the answer is what the frames show.\n{schema}"
    )


def statement(question: Question) -> str:
    """The question and its options."""
    if question.kind == "open":
        return question.text
    options = zip(question.letters, question.options, strict=True)
    return "\n".join([f"Question: {question.text}", *(f"{letter}. {option}" for letter, option in options)])


def instruction(kind: QuestionKind, style: AnswerStyle, answer_format: AnswerFormat) -> str:
    """How to answer."""
    if style == "direct":
        return "Answer with the best option only." if kind == "choice" and answer_format == "text" else _DIRECT[kind]
    return f'Think step by step: say what you see and when, then end with "Answer: " and {final(kind, answer_format)}.'


def final(kind: QuestionKind, answer_format: AnswerFormat) -> str:
    """What an answer consists of."""
    return "the best option" if kind == "choice" and answer_format == "text" else _FINAL[kind]
