"""Questions about a demo video with their true answers and the seconds that prove them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from agents.demo.generator import COLOURS, DIGITS, DIRECTIONS, FPS, NAMES, SHAPES, DemoVideo, Shot

T = TypeVar("T")

KINDS = ("colour", "shape", "first", "last", "appears")
HARDER = ("after", "moves", "count")  # asked on demand only: the committed model has not learned them
NEEDLE = ("colour", "shape")  # of long videos, where what they ask about is seen once
SAID = ("said",)  # of long videos: needs the subtitles too
SIGN = ("sign",)  # of signed videos: needs a closer look
_CHOICES = 4
_COUNTS = ("1", "2", "3", "4")
_MOVES_FRAMES = 2 * FPS  # motion is only asked of shots long enough to be seen twice


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """One question. Without options it is answered yes or no. `evidence` are spans in seconds."""

    kind: str
    text: str
    options: tuple[str, ...]
    answer: str
    evidence: tuple[tuple[float, float], ...]
    subject: str

    @property
    def letter(self) -> str:
        """Letter of the right option."""
        return "ABCDEF"[self.options.index(self.answer)]


class Unaskable(Exception):
    """The video has nothing that this kind of question could be about."""


def ask_about(video: DemoVideo, count: int, kinds: tuple[str, ...] = KINDS, stream: int = 0) -> list[DemoQuestion]:
    """Up to `count` different questions. They are drawn from another random stream than the video."""
    rng = Random(f"questions {video.seed} {stream}")
    asked: dict[str, DemoQuestion] = {}
    for _ in range(4 * count):
        if len(asked) == count:
            break
        question = ask_one(video, rng.choice(kinds), rng)
        if question is not None:
            asked.setdefault(question.text, question)
    return list(asked.values())


def ask_one(video: DemoVideo, kind: str, rng: Random) -> DemoQuestion | None:
    """One question of a kind, or None if the video offers no subject for it."""
    try:
        return _KINDS[kind](video, rng)
    except Unaskable:
        return None


def _colour(video: DemoVideo, rng: Random) -> DemoQuestion:
    shape = _pick(rng, [s for s in SHAPES if len({shot.colour for shot in video.shots if shot.shape == s}) == 1])
    shots = [shot for shot in video.shots if shot.shape == shape]
    text = f"What colour is the {shape}?"
    return _choice(rng, "colour", text, COLOURS, shots[0].colour, shots, f"the {shape}")


def _shape(video: DemoVideo, rng: Random) -> DemoQuestion:
    colour = _pick(rng, [c for c in COLOURS if len({s.shape for s in video.shots if s.colour == c}) == 1])
    shots = [shot for shot in video.shots if shot.colour == colour]
    return _choice(rng, "shape", f"Which shape is {colour}?", SHAPES, shots[0].shape, shots, colour)


def _first(video: DemoVideo, rng: Random) -> DemoQuestion:
    return _end(video.shots[0], "first", rng)


def _last(video: DemoVideo, rng: Random) -> DemoQuestion:
    return _end(video.shots[-1], "last", rng)


def _end(shot: Shot, which: str, rng: Random) -> DemoQuestion:
    if rng.random() < 0.5:
        return _choice(rng, which, f"Which shape appears {which}?", SHAPES, shot.shape, [shot], which)
    text = f"What colour is the {which} shape?"
    return _choice(rng, which, text, COLOURS, shot.colour, [shot], which)


def _after(video: DemoVideo, rng: Random) -> DemoQuestion:
    index = _pick(rng, [i for i in range(len(video.shots) - 1) if _only(video, video.shots[i])])
    before, after = video.shots[index : index + 2]
    subject = f"after the {before.what}"
    if rng.random() < 0.5:
        values = tuple(shape for shape in SHAPES if shape != before.shape)
        text = f"Which shape comes right after the {before.what}?"
        return _choice(rng, "after", text, values, after.shape, [before, after], subject)
    values = tuple(colour for colour in COLOURS if colour != before.colour)
    text = f"What colour is the shape right after the {before.what}?"
    return _choice(rng, "after", text, values, after.colour, [before, after], subject)


def _moves(video: DemoVideo, rng: Random) -> DemoQuestion:
    shot = _pick(rng, [s for s in video.shots if _only(video, s) and s.frames >= _MOVES_FRAMES])
    text = f"Which way does the {shot.what} move?"
    return _choice(rng, "moves", text, DIRECTIONS, shot.direction, [shot], f"the {shot.what}")


def _count(video: DemoVideo, rng: Random) -> DemoQuestion:
    """Only the video's counted word is asked about: its number is drawn evenly, that of others is not."""
    if not video.counted:
        raise Unaskable
    shots = [shot for shot in video.shots if video.counted in (shot.colour, shot.shape)]
    named = f"a {video.counted}" if video.counted in SHAPES else f"a {video.counted} shape"
    text = f"In how many shots does {named} appear?"
    return _choice(rng, "count", text, _COUNTS, str(len(shots)), shots, named)


def _appears(video: DemoVideo, rng: Random) -> DemoQuestion:
    """Half are true. The false ones join a colour and a shape that are in the video, but not together."""
    seen = {shot.what for shot in video.shots}
    if rng.random() < 0.5:
        what = rng.choice(sorted(seen))
    else:
        near = {f"{a.colour} {b.shape}" for a in video.shots for b in video.shots} - seen
        what = _pick(rng, sorted(near))
    shots = [shot for shot in video.shots if shot.what == what]
    answer = "yes" if shots else "no"
    spans = tuple((shot.start, shot.end) for shot in shots) or ((0.0, video.duration),)
    return DemoQuestion("appears", f"Does a {what} appear?", (), answer, spans, f"a {what}")


def _said(video: DemoVideo, rng: Random) -> DemoQuestion:
    spoken = {(line.start, line.end): line.text for line in video.lines}
    among = [shot for shot in video.shots if (shot.start, shot.end) in spoken and _only(video, shot)]
    shot = _pick(rng, among)
    name = next(name for name in NAMES if name in spoken[shot.start, shot.end])
    text = f"Which name is said when the {shot.what} appears?"
    return _choice(rng, "said", text, NAMES, name, [shot], f"the {shot.what}")


def _sign(video: DemoVideo, rng: Random) -> DemoQuestion:
    shot = _pick(rng, [shot for shot in video.shots if shot.sign is not None])
    digit = shot.sign.digit if shot.sign else ""
    return _choice(rng, "sign", "What number is on the sign?", DIGITS, digit, [shot], "the sign")


def _choice(
    rng: Random, kind: str, text: str, values: tuple[str, ...], answer: str, shots: list[Shot], subject: str
) -> DemoQuestion:
    others = [value for value in values if value != answer]
    options = [answer, *rng.sample(others, _CHOICES - 1)]
    rng.shuffle(options)
    spans = tuple((shot.start, shot.end) for shot in shots)
    return DemoQuestion(kind, text, tuple(options), answer, spans, subject)


def _only(video: DemoVideo, shot: Shot) -> bool:
    return sum(other.what == shot.what for other in video.shots) == 1


def _pick(rng: Random, among: list[T]) -> T:
    if not among:
        raise Unaskable
    return rng.choice(among)


_KINDS: dict[str, Callable[[DemoVideo, Random], DemoQuestion]] = {
    "colour": _colour,
    "shape": _shape,
    "first": _first,
    "last": _last,
    "after": _after,
    "moves": _moves,
    "count": _count,
    "appears": _appears,
    "said": _said,
    "sign": _sign,
}

_ANNOTATED_QUESTIONS = 12


def ground_truth(video: DemoVideo) -> dict[str, Any]:
    """The video's ground truth in plain data."""
    return {
        "seed": video.seed,
        "duration": round(video.duration, 3),
        "shots": [
            {
                "start": round(shot.start, 3),
                "end": round(shot.end, 3),
                "shape": shot.shape,
                "colour": shot.colour,
                "direction": shot.direction,
            }
            for shot in video.shots
        ],
        "lines": [
            {"start": round(line.start, 3), "end": round(line.end, 3), "text": line.text} for line in video.lines
        ],
        "questions": [
            {
                "question": question.text,
                "options": list(question.options),
                "answer": question.answer,
                "kind": question.kind,
                "evidence": [[round(start, 3), round(end, 3)] for start, end in question.evidence],
            }
            for question in ask_about(video, _ANNOTATED_QUESTIONS)
        ],
    }
