"""Recognises multiple-choice and yes/no questions in free text, and the format in which they want their answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from agents.core.question import QuestionKind
from app.chat.schemas import SecondLookOptions
from app.errors import BadRequest

ChoiceFormat = Literal["letter", "words", "both"]
_OPTION = re.compile(r"[ \t]*(?:\(([A-Z])\)|([A-Z])[.):])[ \t]+(\S.*?)[ \t]*")
_HEADING = re.compile(r"\s*(?:(?:answer )?options|choices|(?:answer )?candidates)\s*:?\s*", re.IGNORECASE)
_CUE = re.compile(
    r"\?\s*$|\b(?:letters?|options?|choices?|choose|select|multiple[- ]choice|(?:best|correct|right) answer)\b",
    re.IGNORECASE | re.MULTILINE,
)
_FORMAT = re.compile(r"\b(?:answer|respond|reply|select|choose|letter|option|choice)\b", re.IGNORECASE)
_ORDER = re.compile(r"\s*(?:please\s+)?(?:select|choose|pick|answer|respond|reply)\b[^?]*$", re.IGNORECASE)
_MORE = re.compile(
    r"\b(?:explain|explanation|reason(?:s|ing)?|why|justify|describe|steps?|think|json)\b", re.IGNORECASE
)
_LETTER = re.compile(r"\bletters?\b|\bA(?:, ?| or )B\b|\(A\)(?:, ?| or )\(B\)", re.IGNORECASE)
_QUOTE = "[\"'“”‘’]?"
_YES_NO = re.compile(
    rf"(?:^|(?<=[\s.?!]))(?:please\s+)?(?:answer|respond|reply)\b(?:\s+(?:the|this|question|with|by|in|using|only|just|"
    rf"simply|either))*\s+{_QUOTE}(yes){_QUOTE}\s+or\s+{_QUOTE}(no){_QUOTE}(?:\s+only)?\s*\.?\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """A question without its format instructions, and the format in which its answer is to be written."""

    text: str
    kind: QuestionKind
    options: tuple[str, ...] = ()
    choice_format: ChoiceFormat = "words"
    yes_no: tuple[str, str] = ("yes", "no")

    def format_answer(self, answer: str, option: str | None) -> str:
        """The answer in the format that the question asked for."""
        if self.kind == "yesno":
            return self.yes_no[answer != "yes"]
        if option is None or self.choice_format == "words":
            return answer
        return option if self.choice_format == "letter" else f"{option}. {answer}"


def parse_question(text: str, ours: SecondLookOptions) -> ParsedQuestion:
    """The question, from our own fields where given, else from the text where it is unambiguous.

    Raises BadRequest if a choice is asked for and there are no options.
    """
    if ours.options:
        return ParsedQuestion(text, "choice", ours.options, "letter" if _LETTER.search(text) else "words")
    if ours.kind not in (None, "choice", "yesno"):
        return ParsedQuestion(text, ours.kind)
    if (ours.kind in (None, "choice")) and (found := _choice(text)):
        return found
    if ours.kind == "choice":
        raise BadRequest(
            "No options were found in the question: write them as lines that begin with A., B., … or give "
            "secondlook.options.",
            param="secondlook.kind",
            code="missing_options",
        )
    if found := _yes_or_no(text):
        return found
    return ParsedQuestion(text, ours.kind or "open")


def _yes_or_no(text: str) -> ParsedQuestion | None:
    found = _YES_NO.search(text)
    stem = text[: found.start()].strip() if found else ""
    return ParsedQuestion(stem, "yesno", yes_no=(found[1], found[2])) if found and stem else None


def _choice(text: str) -> ParsedQuestion | None:
    """A question followed by one list of lines A, B, … to choose from."""
    lines = text.splitlines()
    lettered = [
        (at, (found[1] or found[2]), found[3]) for at, line in enumerate(lines) if (found := _OPTION.fullmatch(line))
    ]
    letters, options = "".join(letter for _, letter, _ in lettered), tuple(words for _, _, words in lettered)
    if not 2 <= len(options) <= len(ascii_uppercase) or letters != ascii_uppercase[: len(options)]:
        return None
    first, last = lettered[0][0], lettered[-1][0]
    between = [line for line in lines[first : last + 1] if line.strip()]
    if len(between) != len(options) or len({each.casefold() for each in options}) != len(options):
        return None
    before = [line for line in lines[:first] if line.strip() and not _HEADING.fullmatch(line)]
    after = [line for line in lines[last + 1 :] if line.strip()]
    rest = "\n".join((*before, *after))
    before = [line for line in before if not _ORDER.match(line)] or before
    if not before or not _CUE.search(rest) or _MORE.search("\n".join(after)):
        return None
    stem = "\n".join((*before, *(line for line in after if not _FORMAT.search(line)))).strip()
    return ParsedQuestion(stem, "choice", options, "letter" if _LETTER.search(rest) else "both")
