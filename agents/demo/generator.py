"""Demo videos: shots of one moving shape each, and all that is true about them. Same seed, same video."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random

SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
DIRECTIONS = ("left", "right", "up", "down")
# Cells of a picture, row by row, in words that are one token each.
CELLS = ("northwest", "north", "northeast", "west", "middle", "east", "southwest", "south", "southeast")
DIGITS = tuple("0123456789")
SEEN = (*COLOURS, *SHAPES, "sign", *CELLS, *DIGITS)  # every word that a frame may be read as
NAMES = ("Ada", "Ben", "Cleo", "Dora", "Emil", "Finn", "Greta", "Hugo", "Ines", "Juri", "Karl", "Lena")

RGB = {
    "red": (214, 40, 40),
    "green": (38, 160, 62),
    "blue": (44, 84, 220),
    "yellow": (236, 214, 48),
    "purple": (148, 54, 186),
    "white": (244, 244, 244),
}

TEST_FROM = 1_000_000_000
DEV_FROM = 900_000_000


class ForbiddenSeed(Exception):
    """The seed belongs to the test range, which training must not use."""


def for_training(seed: int) -> int:
    """The seed itself, once it is known to be below the test range."""
    if not 0 <= seed < TEST_FROM:
        raise ForbiddenSeed(f"seed {seed} belongs to the test range (>= {TEST_FROM})")
    return seed


def split_of(seed: int) -> str:
    """Name of the split that a video's seed belongs to: train, dev or test."""
    if seed >= TEST_FROM:
        return "test"
    return "dev" if seed >= DEV_FROM else "train"


FPS = 12
SIDE = 448
Appearance = tuple[str, str]  # colour and shape
_SHORT = (10, 18)  # length in frames of a shot that a coarse look misses
_LONG = (28, 60)
CELL = SIDE // 3
PLATE = 36
_SPEECH_RATE = 0.12  # of the lasting shots of a long video: so few that a name belongs to what is seen
_RARE = 2  # shapes, and colours, that a long video shows only once


@dataclass(frozen=True, slots=True)
class Sign:
    """A plate with a digit in the middle of a cell: three rows of three, counted from the top left."""

    digit: str
    cell: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of its cell, in pixels."""
        row, column = divmod(self.cell, 3)
        return column * CELL, row * CELL, (column + 1) * CELL, (row + 1) * CELL

    @property
    def plate(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the plate, in pixels."""
        left, top, right, bottom = self.box
        x, y = (left + right) // 2, (top + bottom) // 2
        return x - PLATE // 2, y - PLATE // 2, x + PLATE // 2, y + PLATE // 2


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
    sign: Sign | None = None

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
class SpokenLine:
    """What the narrator says, and when."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class DemoVideo:
    """All shots in order. `counted` is the word whose number of shots was drawn evenly from 1 to 4."""

    seed: int
    shots: tuple[Shot, ...]
    lines: tuple[SpokenLine, ...] = ()
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


def make_video(seed: int, minutes: float | None = None) -> DemoVideo:
    """The video of a seed: 7 to 12 shots, or as many as fill the minutes.

    In a video of so many minutes two shapes and two colours are seen once only, each for two seconds or more.
    """
    rng = Random(f"film {seed} {minutes}")
    lengths = _lengths(rng, minutes)
    if minutes is not None:
        shots = _shots(rng, lengths, _long_appearances(rng, lengths))
        return DemoVideo(seed, shots, _names(rng, shots))
    looks, counted = _appearances(rng, len(lengths))
    shots = _shots(rng, lengths, looks)
    return DemoVideo(seed, shots, _lines(rng, shots), counted)


def make_signed_video(seed: int) -> DemoVideo:
    """A short video of which one shot, that lasts, has a sign too small to be read without a closer look."""
    video = make_video(seed)
    rng = Random(f"sign {seed}")
    lasting = [index for index, shot in enumerate(video.shots) if shot.frames >= _LONG[0]]
    at = rng.choice(lasting or [max(range(len(video.shots)), key=lambda index: video.shots[index].frames)])
    shot = video.shots[at]
    signed = replace(shot, sign=Sign(rng.choice(DIGITS), rng.choice(_free_cells(shot))))
    return replace(video, shots=(*video.shots[:at], signed, *video.shots[at + 1 :]))


def _lengths(rng: Random, minutes: float | None) -> list[int]:
    if minutes is None:
        return [_length(rng) for _ in range(rng.randint(7, 12))]
    lengths: list[int] = []
    while sum(lengths) < minutes * 60 * FPS:
        lengths.append(_length(rng))
    return lengths


def _length(rng: Random) -> int:
    return rng.randint(*(_SHORT if rng.random() < 0.4 else _LONG))


def _shots(rng: Random, lengths: list[int], looks: list[Appearance]) -> tuple[Shot, ...]:
    firsts = accumulate(lengths, initial=0)
    return tuple(
        _shot(rng, first, *each) for first, each in zip(firsts, zip(lengths, looks, strict=True), strict=False)
    )


def _appearances(rng: Random, shots: int) -> tuple[list[Appearance], str]:
    """Colour and shape of each shot; neighbours differ in both. One word appears in 1, 2, 3 or 4 shots."""
    counted = rng.choice(COLOURS + SHAPES)
    wanted = set(_apart(rng, shots, rng.randint(1, 4)))
    looks: list[Appearance] = []
    while len(looks) < shots:
        look = rng.choice(COLOURS), rng.choice(SHAPES)
        if (counted in look) == (len(looks) in wanted) and _differ(look, looks[-1:]):
            looks.append(look)
    return looks, counted


def _long_appearances(rng: Random, lengths: list[int]) -> list[Appearance]:
    """Colour and shape of each shot. The rare ones come in four shots that last, one each."""
    colours, shapes = rng.sample(COLOURS, len(COLOURS)), rng.sample(SHAPES, len(SHAPES))
    common = [(colour, shape) for colour in colours[_RARE:] for shape in shapes[_RARE:]]
    looks: list[Appearance] = []
    while len(looks) < len(lengths):
        if _differ(look := rng.choice(common), looks[-1:]):
            looks.append(look)
    rare = [[(colour, shape) for colour in colours[_RARE:]] for shape in shapes[:_RARE]]
    rare += [[(colour, shape) for shape in shapes[_RARE:]] for colour in colours[:_RARE]]
    lasting = [index for index in range(1, len(lengths) - 1) if lengths[index] >= _LONG[0]]
    places = rng.sample(lasting[::2], len(rare))  # not next to each other: what is every second one is not
    for place, choices in zip(places, rare, strict=True):
        looks[place] = rng.choice([look for look in choices if _differ(look, [looks[place - 1], looks[place + 1]])])
    return looks


def _differ(look: Appearance, others: list[Appearance]) -> bool:
    return all(look[0] != colour and look[1] != shape for colour, shape in others)


def _apart(rng: Random, places: int, count: int) -> list[int]:
    """`count` different places, no two of them neighbours, all such choices equally likely."""
    picked = sorted(rng.sample(range(places - count + 1), count))
    return [place + index for index, place in enumerate(picked)]


def _shot(rng: Random, first: int, frames: int, look: Appearance) -> Shot:
    colour, shape = look
    direction = rng.choice(DIRECTIONS)
    radius = rng.randint(44, 84)
    travel = rng.randint(140, 240)
    along, across = SIDE // 2, rng.randint(radius + 8, SIDE - radius - 8)
    centre = (along, across) if direction in ("left", "right") else (across, along)
    return Shot(first, frames, shape, colour, direction, radius, rng.randint(70, 150), centre, travel)


def _free_cells(shot: Shot) -> list[int]:
    """Cells whose plate the shape never touches."""
    (ax, ay), (bx, by) = shot.place(0), shot.place(shot.frames)
    left, right = min(ax, bx) - shot.radius, max(ax, bx) + shot.radius
    top, bottom = min(ay, by) - shot.radius, max(ay, by) + shot.radius
    plates = [(cell, Sign("0", cell).plate) for cell in range(9)]
    return [cell for cell, (x, y, x_end, y_end) in plates if x_end <= left or x >= right or y_end <= top or y >= bottom]


def _names(rng: Random, shots: tuple[Shot, ...]) -> tuple[SpokenLine, ...]:
    """The narrator of a long video says a name with some of the shots that last, and with all that are rare."""
    looks = Counter(shot.what for shot in shots)
    lasting = [shot for shot in shots if shot.frames >= _LONG[0]]
    spoken = [shot for shot in lasting if looks[shot.what] == 1 or rng.random() < _SPEECH_RATE]
    return tuple(SpokenLine(shot.start, shot.end, f"The name is {rng.choice(NAMES)}.") for shot in spoken)


def _lines(rng: Random, shots: tuple[Shot, ...]) -> tuple[SpokenLine, ...]:
    """In every second video a narrator names what is on screen in some of the longer shots."""
    if rng.random() < 0.5:
        return ()
    spoken = [shot for shot in shots if shot.frames >= _LONG[0] and rng.random() < 0.5]
    return tuple(SpokenLine(shot.start, shot.end, f"Look at the {shot.what}.") for shot in spoken)
