"""One reply, read: the value it states and how sure its tokens are."""

from __future__ import annotations

from dataclasses import dataclass

from agents.answer import Question
from agents.confidence import least_probability, margin, mean_probability
from agents.engine import Reply, Token
from agents.parse import answer_starts, read, stated
from agents.prompts import Style


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply and what it says. `value` is None when no answer could be read from it.

    `probabilities` is the distribution over all values of the question, where it was asked for.

    `confidence` is the probability of the stated answer (its option probability if known, else that of the least
    certain token of the answer), `certainty` is e to the mean log-probability of the whole reply; None if unknown.
    """

    value: str | None
    words: str
    text: str
    confidence: float | None
    margin: float | None
    certainty: float | None
    probabilities: dict[str, float] | None = None


def sample(question: Question, reply: Reply, style: Style = "think") -> Sample:
    """Read a reply to a question. An open answer may be cut off; how sure it is, is how sure all its tokens are."""
    value = read(question, reply.text, style)
    if question.kind == "open":
        sure = mean_probability(reply.tokens)
        return Sample(value, stated(question, reply.text, style), reply.text, sure, None, sure)
    if reply.finish == "length" and not answer_starts(reply.text) and len(reply.tokens) > 1:
        value = None  # cut off in mid-thought: whatever stands at the end is not the answer
    confidence = None if value is None else least_probability(answer_tokens(reply))
    gap = None if confidence is None else max(0.0, 2 * confidence - 1)
    return Sample(value, stated(question, reply.text), reply.text, confidence, gap, mean_probability(reply.tokens))


def chosen(probabilities: dict[str, float], question: Question) -> Sample:
    """A distribution over a question's values as one sample that states the most probable of them."""
    value = max(probabilities, key=lambda each: probabilities[each])
    sure = probabilities[value]
    return Sample(value, question.show(value), value, sure, margin(probabilities.values()), sure, probabilities)


def answer_tokens(reply: Reply) -> tuple[Token, ...]:
    """The tokens that spell the stated answer, without the thinking before it and the end marks after it."""
    start, position = answer_starts(reply.text), 0
    spelled: list[Token] = []
    for token in reply.tokens:
        position += len(token.text)
        if position > start and token.text.strip():
            spelled.append(token)
    return tuple(spelled)
