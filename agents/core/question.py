"""The question that a run must answer, and the answer that it gives."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

QuestionKind = Literal[
    "choice", "text", "number", "yesno", "open"
]  # text is a few words, open is whatever was asked for
StopReason = Literal[
    "complete",  # the strategy ran to its end
    "agreed",  # all samples said the same
    "decided",  # the leader cannot be caught, or the Beta rule is satisfied
    "confident",  # the confidence that was asked for is reached
    "budget",  # frames, tokens, calls or seconds ran out
    "engine",  # the engine failed; this is the best answer until then
    "unparsed",  # no reply could be read as an answer
]


class HistoryTurn(BaseModel):
    """Something that was said before the question was asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["user", "assistant"]
    text: str


class Question(BaseModel):
    """One question about one video. Options make it multiple choice; their letters are A, B, C, …

    `instructions` are for the model before anything else, `history` is the conversation so far, oldest turn first.
    `length` is the longest answer without thinking, in tokens, where it is written out: for text and open questions.
    """

    model_config = ConfigDict(frozen=True)

    text: str = Field(min_length=1)
    options: tuple[str, ...] = Field(default=(), max_length=26)
    kind: QuestionKind = "text"
    instructions: str = ""
    history: tuple[HistoryTurn, ...] = ()
    max_tokens: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _options_belong_to_choice(self) -> Self:
        if bool(self.options) != (self.kind == "choice"):
            raise ValueError('options and kind "choice" go together')
        return self

    @property
    def letters(self) -> tuple[str, ...]:
        """Letter of each option, in order; empty unless multiple choice."""
        return tuple(ascii_uppercase[: len(self.options)])

    @property
    def values(self) -> tuple[str, ...]:
        """All values an answer can have, when they can be listed: option letters, or yes and no."""
        return ("yes", "no") if self.kind == "yesno" else self.letters

    def rotated(self, by: int) -> tuple[Question, dict[str, str]]:
        """The question with its options rotated, and the original value behind each value shown."""
        values, options = self.values, self.options
        if not options:
            return self, {value: value for value in values}
        by %= len(options)
        shown = self.model_copy(update={"options": options[by:] + options[:by]})
        return shown, dict(zip(values, values[by:] + values[:by], strict=True))

    def display(self, value: str) -> str:
        """The words a person reads for a value: the option's text, or the value itself."""
        return self.options[self.letters.index(value)] if self.kind == "choice" else value


class Candidate(BaseModel):
    """One of the answers that were in the running."""

    model_config = ConfigDict(frozen=True)

    answer: str
    option: str | None = None
    share: float = Field(ge=0, le=1, description="Its share of the (weighted) vote.")
    confidence: float | None = Field(default=None, ge=0, le=1)


class Evidence(BaseModel):
    """Seconds of the video that support the answer, and what is seen there."""

    model_config = ConfigDict(frozen=True)

    start: float
    end: float
    text: str


class Answer(BaseModel):
    """What a strategy returns. `value` is None when nothing could be read as an answer.

    `value` is canonical: an option letter, "yes" or "no", a number, or the text. `confidence` is in [0, 1],
    made from token probabilities or agreement, and None when unknown, which is not the same as 0.
    """

    model_config = ConfigDict(frozen=True)

    value: str | None
    confidence: float | None = Field(default=None, ge=0, le=1)
    candidates: tuple[Candidate, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    stopped: StopReason = "complete"
