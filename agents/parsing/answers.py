"""Parse a reply: the value it states, and how confident its tokens are. What cannot be parsed is None."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_uppercase, punctuation

from agents.core.question import Question
from agents.engines.base import Reply, Token
from agents.parsing.confidence import least_probability, margin, mean_probability
from agents.prompts.questions import AnswerStyle

_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_MARKED = re.compile(r"answer\s*(?:is|:)\s*:?\s*([^\n]*)", re.IGNORECASE)
_WHOLE = re.compile(r"^[ \t]*\**answer\**[ \t]*:\**[ \t]*\n?(.*)", re.DOTALL | re.IGNORECASE | re.MULTILINE)
_OPENING = re.compile(r"<(?:t(?:h(?:i(?:nk?)?)?)?)?$", re.IGNORECASE)  # of a thought, perhaps
_MARKING = re.compile(r"\s*\**(?:a|an|ans|answ|answe|answer\**[ \t]*(?::[\s*]*)?)?", re.IGNORECASE)  # so far
_LETTER = re.compile(r"(?:option\s+)?[(\[]?([A-Za-z])[)\]]?(?:\s*[.:)]\s*.*)?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")
_ARTICLES = frozenset({"a", "an", "the"})
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()


def parse_answer(question: Question, text: str, style: AnswerStyle = "think") -> str | None:
    """The canonical value that a reply states: option letter, yes/no, number, or plain text; None if none."""
    final = stated_answer(question, text, style)
    if question.kind == "choice":
        return _choice(question, final)
    if question.kind == "yesno":
        return _yes_or_no(final)
    if question.kind == "number":
        return _number(final)
    if question.kind == "open":
        return normalise_text(final) or final or None
    return normalise_text(final) or None


def stated_answer(question: Question, text: str, style: AnswerStyle = "think") -> str:
    """The part of a reply that states the answer, as it was written."""
    if question.kind != "open":
        return final_answer_text(text)
    return whole_answer(text) if style == "think" else whole_reply(text)


def whole_answer(text: str) -> str:
    """The answer to an open question after thinking: all from the line that begins with "Answer:" on.

    Without such a line, all but the thoughts.
    """
    spoken = _THOUGHT.sub("", text)
    found = _WHOLE.search(spoken)
    return (found[1] if found else spoken).strip()


def whole_reply(text: str) -> str:
    """The answer to an open question without thinking: all that was said. Only "Answer:" before it is no part of it."""
    spoken = _THOUGHT.sub("", text).strip()
    found = _WHOLE.match(spoken)
    return (found[1] if found else spoken).strip()


def stable_answer(text: str, style: AnswerStyle) -> str:
    """What of an open answer is sure while its reply is still being written: what `stated` will begin with.

    After thinking, nothing is before the line that begins with "Answer:".
    """
    spoken = _THOUGHT.sub("", _OPENING.sub("", text))
    if style == "think":
        return found[1].strip() if (found := _WHOLE.search(spoken)) else ""
    return "" if _MARKING.fullmatch(spoken) else whole_reply(spoken)


def final_answer_text(text: str) -> str:
    """The part of a reply that states the answer: the last marked one, or all of it if nothing is marked."""
    spoken = _THOUGHT.sub("", text)
    for marker in (_TAGGED, _MARKED):
        if found := marker.findall(spoken):
            return str(found[-1]).strip().strip("*_`").strip()
    return spoken.strip().strip("*_`").strip()


def answer_start(text: str) -> int:
    """Index of the character where the stated answer begins; 0 if it is not marked."""
    found = [*_TAGGED.finditer(text)] or [*_MARKED.finditer(text)]
    return found[-1].start(1) if found else 0


def normalise_text(text: str) -> str:
    """Text in the form in which answers are compared: lower case, no articles, punctuation or extra space."""
    words = text.casefold().replace("-", " ").split()
    bare = (word.strip(punctuation) for word in words)
    return " ".join(word for word in bare if word and word not in _ARTICLES)


def _choice(question: Question, text: str) -> str | None:
    same = [letter for letter, option in _lettered(question) if normalise_text(option) == normalise_text(text)]
    if len(same) == 1:
        return same[0]
    if (match := _LETTER.fullmatch(text)) and match[1].upper() in question.letters:
        return match[1].upper()
    words = f" {normalise_text(text)} "
    named = [letter for letter, option in _lettered(question) if f" {normalise_text(option)} " in words]
    return named[0] if len(named) == 1 else None


def _lettered(question: Question) -> list[tuple[str, str]]:
    return list(zip(ascii_uppercase, question.options, strict=False))


def _yes_or_no(text: str) -> str | None:
    said = {word for word in normalise_text(text).split() if word in ("yes", "no")}
    return said.pop() if len(said) == 1 else None


def _number(text: str) -> str | None:
    digits = {f"{float(found):g}" for found in _NUMBER.findall(text.replace(",", ""))}
    spelled = {str(_WORDS.index(word)) for word in normalise_text(text).split() if word in _WORDS}
    said = digits or spelled
    return said.pop() if len(said) == 1 else None


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply and what it says. `value` is None when no answer could be read from it.

    `probabilities` is the distribution over all values of the question, where it was asked for.

    `confidence` is the probability of the stated answer (its option probability if known, else that of the least
    certain token of the answer), `certainty` is e to the mean log-probability of the whole reply; None if unknown.
    """

    value: str | None
    display: str
    text: str
    confidence: float | None
    margin: float | None
    certainty: float | None
    probabilities: dict[str, float] | None = None


def parse_sample(question: Question, reply: Reply, style: AnswerStyle = "think") -> Sample:
    """Read a reply to a question. An open answer may be cut off; how sure it is, is how sure all its tokens are."""
    value = parse_answer(question, reply.text, style)
    if question.kind == "open":
        sure = mean_probability(reply.tokens)
        return Sample(value, stated_answer(question, reply.text, style), reply.text, sure, None, sure)
    if reply.finish == "length" and not answer_start(reply.text) and len(reply.tokens) > 1:
        value = None  # cut off in mid-thought: whatever stands at the end is not the answer
    confidence = None if value is None else least_probability(answer_tokens(reply))
    gap = None if confidence is None else max(0.0, 2 * confidence - 1)
    return Sample(
        value, stated_answer(question, reply.text), reply.text, confidence, gap, mean_probability(reply.tokens)
    )


def sample_from_probabilities(probabilities: dict[str, float], question: Question) -> Sample:
    """A distribution over a question's values as one sample that states the most probable of them."""
    value = max(probabilities, key=lambda each: probabilities[each])
    sure = probabilities[value]
    return Sample(value, question.display(value), value, sure, margin(probabilities.values()), sure, probabilities)


def answer_tokens(reply: Reply) -> tuple[Token, ...]:
    """The tokens that spell the stated answer, without the thinking before it and the end marks after it."""
    start, position = answer_start(reply.text), 0
    spelled: list[Token] = []
    for token in reply.tokens:
        position += len(token.text)
        if position > start and token.text.strip():
            spelled.append(token)
    return tuple(spelled)
