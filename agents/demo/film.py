"""A demo film: shots of one moving shape each, and all that is true about them. Same seed, same film."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from agents.demo.world import COLOURS, DIRECTIONS, SHAPES

FPS = 12
SIDE = 448
_SHORT = (10, 18)  # length in frames of a shot that a coarse look misses
_LONG = (28, 60)


@dataclass(frozen=True, slots=True)
class Shot:
    """One shape crossing a grey ground. Lengths are in pixels, times in frames."""

    first: int
    frames: int
    shape: str
    colour: str
    direction: str
    radius: int
    ground: int
    centre: tuple[int, int]
    travel: int

    @property
    def start(self) -> float:
        """Second at which the shot begins."""
        return self.first / FPS

    @property
    def end(self) -> float:
        """Second at which the next shot begins."""
        return (self.first + self.frames) / FPS

    @property
    def what(self) -> str:
        """What is seen, in words: `red star`."""
        return f"{self.colour} {self.shape}"

    def place(self, frame: int) -> tuple[int, int]:
        """Centre of the shape in the given frame of the shot, in pixels."""
        moved = self.travel * (2 * frame - self.frames) // (2 * self.frames)
        step = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[self.direction]
        return self.centre[0] + step[0] * moved, self.centre[1] + step[1] * moved


@dataclass(frozen=True, slots=True)
class Line:
    """What the narrator says, and when."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Film:
    """All shots in order. `counted` is the word whose number of shots was drawn evenly from 1 to 4."""

    seed: int
    shots: tuple[Shot, ...]
    lines: tuple[Line, ...] = ()
    counted: str = ""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.shots[-1].first + self.shots[-1].frames

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self.frames / FPS

    def shot_at(self, second: float) -> Shot:
        """The shot that is on screen at a second; the last one from the end on."""
        return next((shot for shot in self.shots if second < shot.end - 1e-9), self.shots[-1])


def make_film(seed: int, minutes: float | None = None) -> Film:
    """The film of a seed: 7 to 12 shots, or as many as fill the minutes."""
    rng = Random(f"film {seed} {minutes}")
    lengths = _lengths(rng, minutes)
    looks, counted = _looks(rng, len(lengths), count=minutes is None)
    shots: list[Shot] = []
    first = 0
    for frames, (colour, shape) in zip(lengths, looks, strict=True):
        shots.append(_shot(rng, first, frames, colour, shape))
        first += frames
    return Film(seed, tuple(shots), _lines(rng, shots), counted)


def _lengths(rng: Random, minutes: float | None) -> list[int]:
    if minutes is None:
        return [_length(rng) for _ in range(rng.randint(7, 12))]
    lengths: list[int] = []
    while sum(lengths) < minutes * 60 * FPS:
        lengths.append(_length(rng))
    return lengths


def _length(rng: Random) -> int:
    return rng.randint(*(_SHORT if rng.random() < 0.4 else _LONG))


def _looks(rng: Random, shots: int, count: bool) -> tuple[list[tuple[str, str]], str]:
    """Colour and shape of each shot; neighbours differ in both. One word appears in 1, 2, 3 or 4 shots."""
    counted = rng.choice(COLOURS + SHAPES) if count else ""
    wanted = set(_apart(rng, shots, rng.randint(1, 4))) if count else set()
    looks: list[tuple[str, str]] = []
    while len(looks) < shots:
        look = rng.choice(COLOURS), rng.choice(SHAPES)
        fits = not count or (counted in look) == (len(looks) in wanted)
        if fits and not (looks and (look[0] == looks[-1][0] or look[1] == looks[-1][1])):
            looks.append(look)
    return looks, counted


def _apart(rng: Random, places: int, count: int) -> list[int]:
    """`count` different places, no two of them neighbours, all such choices equally likely."""
    picked = sorted(rng.sample(range(places - count + 1), count))
    return [place + index for index, place in enumerate(picked)]


def _shot(rng: Random, first: int, frames: int, colour: str, shape: str) -> Shot:
    direction = rng.choice(DIRECTIONS)
    radius = rng.randint(44, 84)
    travel = rng.randint(140, 240)
    along, across = SIDE // 2, rng.randint(radius + 8, SIDE - radius - 8)
    centre = (along, across) if direction in ("left", "right") else (across, along)
    return Shot(first, frames, shape, colour, direction, radius, rng.randint(70, 150), centre, travel)


def _lines(rng: Random, shots: list[Shot]) -> tuple[Line, ...]:
    """In every second film a narrator names what is on screen in some of the longer shots."""
    if rng.random() < 0.5:
        return ()
    spoken = [shot for shot in shots if shot.frames >= _LONG[0] and rng.random() < 0.5]
    return tuple(Line(shot.start, shot.end, f"Look at the {shot.what}.") for shot in spoken)
