"""Which seconds of a film a model is shown, and what can be seen in them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from agents.demo.film import FPS, Film, Shot
from agents.demo.world import CELLS

_VISIBLE = 24  # pixels of a film that a shape must move between two frames to show its direction


@dataclass(frozen=True, slots=True)
class Sight:
    """One frame that is shown: its second, its shot, and which frame of the shot it is; or a closer look at a cell."""

    time: float
    shot: Shot
    frame: int
    cell: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """What it shows, as the words that it is to be read as.

        A whole frame is its colour and shape, and where a sign is if there is one; a closer look at a cell is the
        sign there with its digit, or nothing.
        """
        sign = self.shot.sign
        if self.cell is not None:
            return ("sign", sign.digit) if sign is not None and sign.cell == self.cell else ()
        seen = (self.shot.colour, self.shot.shape)
        return seen if sign is None else (*seen, "sign", CELLS[sign.cell])


@dataclass(frozen=True, slots=True)
class Seen:
    """A run of frames that look the same: where it begins and what it shows."""

    time: float
    what: str


@dataclass(frozen=True, slots=True)
class View:
    """The frames shown of one film, in order of time."""

    film: Film
    sights: tuple[Sight, ...]

    @property
    def shots(self) -> frozenset[Shot]:
        """Shots of which at least one frame is shown."""
        return frozenset(sight.shot for sight in self.sights)

    @property
    def runs(self) -> list[Seen]:
        """What a careful viewer can say, run by run."""
        runs: list[list[Sight]] = []
        for sight in self.sights:
            if runs and runs[-1][0].shot.what == sight.shot.what:
                runs[-1].append(sight)
            else:
                runs.append([sight])
        return [Seen(run[0].time, run[0].shot.what) for run in runs]

    def shows_motion(self, shot: Shot) -> bool:
        """Whether two frames of the shot are far enough apart to tell its direction."""
        places = [shot.place(sight.frame) for sight in self.sights if sight.shot == shot]
        if not places:
            return False
        (ax, ay), (bx, by) = places[0], places[-1]
        return abs(ax - bx) + abs(ay - by) >= _VISIBLE


def view(film: Film, times: list[float]) -> View:
    """The view of a film at these seconds."""
    sights = []
    for time in sorted(times):
        shot = film.shot_at(time)
        frame = min(int(time * FPS + 1e-6) - shot.first, shot.frames - 1)
        sights.append(Sight(time, shot, frame))
    return View(film, tuple(sights))


def random_times(film: Film, count: int, rng: Random) -> list[float]:
    """Seconds as the strategies choose them: a grid, bin centres, jittered bins, a denser look somewhere."""
    way = rng.random()
    if way < 0.35:
        return [film.duration * i / count for i in range(count)]
    if way < 0.5:
        return [film.duration * (i + 0.5) / count for i in range(count)]
    if way < 0.75 or count < 4:
        return [film.duration * (i + rng.uniform(0.05, 0.95)) / count for i in range(count)]
    few = rng.randint(1, count - 1)
    length = rng.uniform(0.1, 0.6) * film.duration
    start = rng.uniform(0, film.duration - length)
    close = [start + length * (i + 0.5) / (count - few) for i in range(count - few)]
    return sorted([film.duration * i / few for i in range(few)] + close)
