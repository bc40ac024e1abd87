"""How well the demo model does on films it has never seen, through a real codec and the service's own prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random

from agents.answer import Question
from agents.demo.film import make_film
from agents.demo.lesson import as_open
from agents.demo.pupil import Frames, Pupil
from agents.demo.questions import DemoQuestion, ask_about
from agents.demo.watch import Cinema, grid
from agents.demo.wording import MANNER
from agents.parse import read
from agents.prompts import Style, ask, verify

_A_FILM = 5  # questions asked about each film


@dataclass(frozen=True, slots=True)
class Mark:
    """One question answered once. `confidence` is the probability of the answer given; None if it has none."""

    kind: str
    style: str
    frames: int
    right: bool
    confidence: float | None
    said: str


def posed(question: DemoQuestion) -> Question:
    """As the service would ask it: multiple choice, or yes or no."""
    if not question.options:
        return as_open(question)
    return Question(text=question.text, options=question.options, kind="choice")


def sit(
    pupil: Pupil, cinema: Cinema, seeds: Iterable[int], counts: Sequence[int], styles: Sequence[str]
) -> Iterator[Mark]:
    """All marks for the questions about these films."""
    for seed in seeds:
        film = make_film(seed)
        screened = cinema.screen(film)
        questions = ask_about(film, _A_FILM)
        for count in counts:
            frames = grid(film, screened, count)
            for style in styles:
                yield from _answer(pupil, frames, questions, style)


def _answer(pupil: Pupil, frames: Frames, questions: list[DemoQuestion], style: str) -> Iterator[Mark]:
    if style == "think":
        yield from _think(pupil, frames, questions)
        return
    for question in questions:
        yield (_direct if style == "direct" else _check)(pupil, frames, question)


def _direct(pupil: Pupil, frames: Frames, question: DemoQuestion) -> Mark:
    asked = posed(question)
    words = [asked.show(value) for value in asked.values]
    shares = pupil.probabilities(frames, ask(asked, "direct", MANNER), words)
    best = max(range(len(shares)), key=shares.__getitem__)
    said = words[best]
    return Mark(question.kind, "direct", len(frames), said == question.answer, shares[best], said)


def _check(pupil: Pupil, frames: Frames, question: DemoQuestion) -> Mark:
    """Verification of the true answer or, for every second question, of a wrong one."""
    rng = Random(f"check {question.text} {len(frames)}")
    wrong = [value for value in question.options or ("yes", "no") if value != question.answer]
    true = rng.random() < 0.5
    proposed = question.answer if true else rng.choice(wrong)
    text = verify(as_open(question), proposed)
    yes, _ = pupil.probabilities(frames, text, ("yes", "no"))
    return Mark(question.kind, "verify", len(frames), (yes > 0.5) == true, yes, "true" if true else "false")


def _think(pupil: Pupil, frames: Frames, questions: list[DemoQuestion]) -> Iterator[Mark]:
    style: Style = "think"
    replies = pupil.replies([(frames, ask(posed(question), style, MANNER)) for question in questions])
    for question, reply in zip(questions, replies, strict=True):
        asked = posed(question)
        value = read(asked, reply)
        right = value is not None and asked.show(value) == question.answer
        yield Mark(question.kind, "think", len(frames), right, None, "unreadable" if value is None else reply)


def wilson(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def calibration_error(marks: Sequence[Mark]) -> float:
    """Expected gap between confidence and accuracy, over ten equal bins of confidence."""
    error = 0.0
    for low in range(10):
        held = [m for m in marks if m.confidence is not None and min(int(m.confidence * 10), 9) == low]
        error += abs(sum(m.right for m in held) - sum(m.confidence or 0.0 for m in held))
    return error / len(marks)


def separation(marks: Sequence[Mark]) -> float:
    """Area under the curve: how often a true proposal is rated above a false one."""
    true = [m.confidence or 0.0 for m in marks if m.said == "true"]
    false = [m.confidence or 0.0 for m in marks if m.said == "false"]
    wins = sum((t > f) + 0.5 * (t == f) for t in true for f in false)
    return wins / (len(true) * len(false))
