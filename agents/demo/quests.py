"""Lessons for a planner: views of films, and what to do about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

from agents.demo.film import make_film, make_signed_film
from agents.demo.lesson import Turn
from agents.demo.quest import caption, closer, glance, glimpsed, hearsay, seek
from agents.demo.seeds import DEV_FROM, for_training
from agents.demo.view import Sight, View, random_times, view

_CLOSER = 16  # most frames of which a part is looked at
_GLANCE = 8  # frames of a first look
_LATEST = 1800.0  # seconds; how late in a long film a clip may lie

Quest = Callable[[int, int, Random], tuple[View, list[Turn]]]


def _seek(frames: int, turns: int, rng: Random) -> tuple[View, list[Turn]]:
    """At times after a first look at the film, which shows nothing of what is sought."""
    film = make_film(_seed(rng))
    looked = random_times(film, min(frames, _GLANCE), rng) if rng.random() < 0.3 else []
    return _moved(view(film, looked), rng), [seek(rng) for _ in range(turns)]


def _sign(frames: int, turns: int, rng: Random) -> tuple[View, list[Turn]]:
    """The sign is in some frame. Now and then it has been looked at closer, and only then can a digit be proved."""
    film = make_signed_film(_seed(rng))
    signed = next(shot for shot in film.shots if shot.sign is not None)
    there = rng.uniform(signed.start, signed.end - 0.05)
    count = min(frames, _CLOSER)
    shown = view(film, [*random_times(film, count - 1, rng), there])
    if rng.random() < 0.6:
        return shown, [*(closer(shown, rng) for _ in range(turns // 2)), glance(_sight(shown), rng, "direct")]
    cell = signed.sign.cell if signed.sign else 0
    near = View(film, tuple(replace(sight, cell=cell) for sight in shown.sights))
    return near, [glance(_sight(near), rng, form) for form in ("verify", "verify", "direct")]


def _caption(frames: int, _: int, rng: Random) -> tuple[View, list[Turn]]:
    """A clip of five to ten seconds at a frame a second, anywhere in a film of any length."""
    film = make_film(_seed(rng))
    count = min(rng.choice((5, 8, 10, 10)), frames + 5)
    start = rng.uniform(0, max(0.0, film.duration - count))
    clip = view(film, [start + index for index in range(count) if start + index < film.duration])
    moved = _moved(clip, rng)
    return moved, [caption(moved)]


def _said(_: int, turns: int, rng: Random) -> tuple[View, list[Turn]]:
    """Some frames of a few seconds, as an answer that was found is proved by them and by what is said then."""
    film = make_film(_seed(rng))
    shot, count = rng.choice(film.shots), rng.randint(2, 6)
    length = rng.choice((shot.end - shot.start, 5.0, 10.0))
    start = max(0.0, shot.start - rng.uniform(0, length - (shot.end - shot.start)) if length > 4 else shot.start)
    times = [start + length * (part + 0.5) / count for part in range(count)]
    shown = _moved(view(film, [time for time in times if time < film.duration] or [shot.start]), rng)
    return shown, [glimpsed(shown, rng) if rng.random() < 0.6 else hearsay(shown, rng) for _ in range(turns)]


def _seed(rng: Random) -> int:
    return for_training(rng.randrange(DEV_FROM))


def _sight(shown: View) -> Sight:
    return next(sight for sight in shown.sights if sight.shot.sign is not None)


def _moved(shown: View, rng: Random) -> View:
    """The same frames at other seconds, as if they came later in a long film."""
    late = rng.choice((0.0, rng.uniform(0, _LATEST)))
    return View(shown.film, tuple(replace(sight, time=sight.time + late) for sight in shown.sights))


QUESTS: Mapping[str, Quest] = {"seek": _seek, "sign": _sign, "caption": _caption, "said": _said}
