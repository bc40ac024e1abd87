"""The words around a question: the service's own prompts most of the time, other people's the rest."""

from __future__ import annotations

from random import Random
from string import ascii_uppercase

from agents.core.question import Question, QuestionKind
from agents.engines.base import AnswerFormat
from agents.prompts.questions import AnswerStyle, ask, verify

ANSWER_FORMAT: AnswerFormat = (
    "text"  # the model answers with an option's own words: letters did not come within the time there was
)
FACT = 'Say the fact, then end with "Answer: " and the answer.'
_OWN = 0.6  # share of prompts that are worded exactly as the service words them

_DIRECT: dict[QuestionKind, tuple[str, ...]] = {
    "choice": (
        "Answer with one of the options.",
        "Reply with the correct option.",
        "Answer with the option from the given choices directly.",
        "Please give the best option. Best answer:",
        "Only give the option.",
    ),
    "text": ("Answer with a single word or phrase.", "Give a short answer.", "Answer briefly."),
    "number": ("Reply with one number.", "Give the number only.", "How many? Answer with a number."),
    "yesno": ("Answer yes or no.", "Reply with yes or no only.", "Yes or no?"),
}
_THINK = (
    'Think step by step, then give the final answer after "Answer: ".',
    'Let\'s think step by step. End with "Answer: " and the answer.',
    'First describe what you see and when. Then finish with "Answer: " and your answer.',
    'Explain your reasoning, then end with "Answer: " and the answer.',
)
_FACT = (
    FACT,
    'Answer in one short sentence, then end with "Answer: " and the answer.',
)
_DESCRIBE = (
    "Describe what you see and when.",
    "Describe the video.",
    "What happens in this video?",
    "List what is shown, with times.",
)
_VERIFY = (
    "Is this answer right? Answer yes or no.",
    "Is the answer correct? Reply with yes or no only.",
    "Check the proposed answer against the video. Is it correct? yes or no:",
)
_SYSTEM = (
    "You are a helpful assistant.",
    "You answer questions about videos.",
    "You see frames of a video, each after its time in seconds.",
)
_MARKS = ("{}. ", "({}) ", "{}) ", "{}: ")


def question_text(question: Question, style: AnswerStyle, rng: Random) -> str:
    """The user's words after the frames."""
    if rng.random() < _OWN:
        return ask(question, style, ANSWER_FORMAT)
    instruction = rng.choice(_THINK if style == "think" else _DIRECT[question.kind])
    return _arrange(question, instruction, rng)


def fact_text(question: Question, rng: Random) -> str:
    """Ask for the one fact that decides, then the answer: a thought of a few words."""
    if rng.random() < _OWN:
        return ask(question).rsplit("\n", 1)[0] + "\n" + FACT
    return _arrange(question, rng.choice(_FACT), rng)


def verify_text(question: Question, proposed: str, rng: Random) -> str:
    """Ask whether a proposed answer is right."""
    if rng.random() < _OWN:
        return verify(question, proposed)
    claim = rng.choice(("Proposed answer: {}", "Answer: {}", "Candidate answer: {}")).format(proposed)
    return f"{_asked(question.text, rng)}\n{claim}\n{rng.choice(_VERIFY)}"


def describe_text(rng: Random) -> str:
    """Ask for a description."""
    return rng.choice(_DESCRIBE)


def system_text(rng: Random) -> str | None:
    """What stands before the frames: mostly nothing."""
    return rng.choice(_SYSTEM) if rng.random() < 0.15 else None


def _arrange(question: Question, instruction: str, rng: Random) -> str:
    asked = _asked(question.text, rng)
    if not question.options:
        return "\n".join([asked, instruction] if rng.random() < 0.8 else [instruction, asked])
    result, head = rng.choice(_MARKS), rng.choice(("", "Options:\n", "Choices:\n"))
    lettered = zip(ascii_uppercase, question.options, strict=False)
    listed = head + "\n".join(result.format(letter) + option for letter, option in lettered)
    return "\n".join([asked, listed, instruction] if rng.random() < 0.8 else [instruction, asked, listed])


def _asked(text: str, rng: Random) -> str:
    return f"{rng.choice(('Question: ', '', 'Q: '))}{text}"
