"""From what the model wrote to a value that can vote. What cannot be read is None, never a guess."""

from __future__ import annotations

import re
from string import ascii_uppercase, punctuation

from agents.answer import Question

_THOUGHT = re.compile(r"<think>.*?(</think>|$)", re.DOTALL | re.IGNORECASE)
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_MARKED = re.compile(r"answer\s*(?:is|:)\s*:?\s*([^\n]*)", re.IGNORECASE)
_WHOLE = re.compile(r"^[ \t]*\**answer\**[ \t]*:\**[ \t]*\n?(.*)", re.DOTALL | re.IGNORECASE | re.MULTILINE)
_LETTER = re.compile(r"(?:option\s+)?[(\[]?([A-Za-z])[)\]]?(?:\s*[.:)]\s*.*)?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)")
_ARTICLES = frozenset({"a", "an", "the"})
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()


def read(question: Question, text: str) -> str | None:
    """The canonical value that a reply states: option letter, yes/no, number, or plain text; None if none."""
    final = stated(question, text)
    if question.kind == "choice":
        return _choice(question, final)
    if question.kind == "yesno":
        return _yes_or_no(final)
    if question.kind == "number":
        return _number(final)
    if question.kind == "open":
        return plain(final) or final or None
    return plain(final) or None


def stated(question: Question, text: str) -> str:
    """The part of a reply that states the answer, as it was written."""
    return whole_answer(text) if question.kind == "open" else final_words(text)


def whole_answer(text: str) -> str:
    """The answer to an open question: all lines from the one that begins with "Answer:", else all but the thoughts."""
    spoken = _THOUGHT.sub("", text)
    found = _WHOLE.search(spoken)
    return (found[1] if found else spoken).strip()


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
