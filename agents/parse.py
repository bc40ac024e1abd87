"""From what the model wrote to a value that can vote. What cannot be read is None, never a guess."""

from __future__ import annotations

import re
from string import ascii_uppercase, punctuation

from agents.answer import Question
from agents.prompts import Style

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


def read(question: Question, text: str, style: Style = "think") -> str | None:
    """The canonical value that a reply states: option letter, yes/no, number, or plain text; None if none."""
    final = stated(question, text, style)
    if question.kind == "choice":
        return _choice(question, final)
    if question.kind == "yesno":
        return _yes_or_no(final)
    if question.kind == "number":
        return _number(final)
    if question.kind == "open":
        return plain(final) or final or None
    return plain(final) or None


def stated(question: Question, text: str, style: Style = "think") -> str:
    """The part of a reply that states the answer, as it was written."""
    if question.kind != "open":
        return final_words(text)
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


def settled(text: str, style: Style) -> str:
    """What of an open answer is sure while its reply is still being written: what `stated` will begin with.

    After thinking, nothing is before the line that begins with "Answer:".
    """
    spoken = _THOUGHT.sub("", _OPENING.sub("", text))
    if style == "think":
        return found[1].strip() if (found := _WHOLE.search(spoken)) else ""
    return "" if _MARKING.fullmatch(spoken) else whole_reply(spoken)


def final_words(text: str) -> str:
    """The part of a reply that states the answer: the last marked one, or all of it if nothing is marked."""
    spoken = _THOUGHT.sub("", text)
    for marker in (_TAGGED, _MARKED):
        if found := marker.findall(spoken):
            return str(found[-1]).strip().strip("*_`").strip()
    return spoken.strip().strip("*_`").strip()


def answer_starts(text: str) -> int:
    """Index of the character where the stated answer begins; 0 if it is not marked."""
    found = [*_TAGGED.finditer(text)] or [*_MARKED.finditer(text)]
    return found[-1].start(1) if found else 0


def plain(text: str) -> str:
    """Text in the form in which answers are compared: lower case, no articles, punctuation or extra space."""
    words = text.casefold().replace("-", " ").split()
    bare = (word.strip(punctuation) for word in words)
    return " ".join(word for word in bare if word and word not in _ARTICLES)


def _choice(question: Question, text: str) -> str | None:
    same = [letter for letter, option in _lettered(question) if plain(option) == plain(text)]
    if len(same) == 1:
        return same[0]
    if (match := _LETTER.fullmatch(text)) and match[1].upper() in question.letters:
        return match[1].upper()
    words = f" {plain(text)} "
    named = [letter for letter, option in _lettered(question) if f" {plain(option)} " in words]
    return named[0] if len(named) == 1 else None


def _lettered(question: Question) -> list[tuple[str, str]]:
    return list(zip(ascii_uppercase, question.options, strict=False))


def _yes_or_no(text: str) -> str | None:
    said = {word for word in plain(text).split() if word in ("yes", "no")}
    return said.pop() if len(said) == 1 else None


def _number(text: str) -> str | None:
    digits = {f"{float(found):g}" for found in _NUMBER.findall(text.replace(",", ""))}
    spelled = {str(_WORDS.index(word)) for word in plain(text).split() if word in _WORDS}
    said = digits or spelled
    return said.pop() if len(said) == 1 else None
