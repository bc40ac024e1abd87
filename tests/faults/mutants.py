"""Films that are damaged, forged or made to be expensive: always the same ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults.bombs import BOMBS
from tests.tools.videos import SCRIPTS

KINDS = (
    "h264 with B-pictures",
    "fragmented mp4",
    "mov starting late",
    "hevc open groups",
    "av1",
    "mkv starting late",
    "webm vp8",
    "webm vp9",
    "mpeg-ts",
    "mpeg-ps",
    "avi mpeg4",
    "avi h264",
    "avi mjpeg",
    "flv",
)
_HEAD = 2048
"""Bytes at both ends of a file where containers keep what they are about."""

_NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x00FFFFFF)
Change = Callable[[random.Random, bytes, bytes], bytes]


class Mutant(NamedTuple):
    """What was done to which film, and the outcome."""

    name: str
    content: bytes


def _cut(rng: random.Random, film: bytes, _: bytes) -> bytes:
    return film[: rng.randrange(len(film))]


def _flip(rng: random.Random, film: bytes, _: bytes) -> bytes:
    return _flipped(rng, film, range(len(film)), rng.choice([1, 3, 10, 60, 400]))


def _flip_head(rng: random.Random, film: bytes, _: bytes) -> bytes:
    ends = [*range(min(_HEAD, len(film))), *range(max(0, len(film) - _HEAD), len(film))]
    return _flipped(rng, film, ends, rng.choice([1, 3, 10, 40]))


def _forge(rng: random.Random, film: bytes, _: bytes) -> bytes:
    """Write extreme numbers where sizes, counts and times may be."""
    forged = bytearray(film)
    for _turn in range(rng.choice([1, 2, 5])):
        place = rng.randrange(min(_HEAD, len(film) - 4)) if rng.random() < 0.7 else rng.randrange(len(film) - 4)
        forged[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), rng.choice(_NUMBERS))
    return bytes(forged)


def _splice(rng: random.Random, film: bytes, other: bytes) -> bytes:
    """The head of one film and the rest of another."""
    here = rng.choice([rng.randrange(min(_HEAD, len(film))), rng.randrange(len(film))])
    return film[:here] + other[rng.randrange(len(other)) :]


def _drop(rng: random.Random, film: bytes, _: bytes) -> bytes:
    start, length = rng.randrange(len(film)), rng.choice([1, 7, 188, 5000])
    return film[:start] + film[start + length :]


def _repeat(rng: random.Random, film: bytes, _: bytes) -> bytes:
    start, length = rng.randrange(len(film)), rng.choice([16, 188, 3000])
    return film[:start] + film[start : start + length] * rng.choice([2, 50]) + film[start:]


def _blank(rng: random.Random, film: bytes, _: bytes) -> bytes:
    start, length = rng.randrange(len(film)), rng.choice([4, 64, 4096])
    return (film[:start] + rng.choice([b"\0", b"\xff"]) * length + film[start + length :])[: len(film)]


CHANGES: dict[str, Change] = {
    "cut": _cut,
    "flipped": _flip,
    "flipped at the ends": _flip_head,
    "forged": _forge,
    "spliced": _splice,
    "shortened": _drop,
    "repeated": _repeat,
    "blanked": _blank,
}


def _flipped(rng: random.Random, film: bytes, places: range | list[int], count: int) -> bytes:
    flipped = bytearray(film)
    for place in rng.choices(places, k=count):
        flipped[place] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def mutants(folder: Path, count: int, seed: int = 11) -> Iterator[Mutant]:
    """So many, the bombs first, then every change of every kind of film in turn."""
    films = {kind: SCRIPTS[kind].shoot(folder, kind).read_bytes() for kind in KINDS}
    for name, bomb in BOMBS.items():
        yield Mutant(name, bomb(folder))
    for number in range(count - len(BOMBS)):
        rng = random.Random(seed * 1_000_000 + number)
        kind, change = KINDS[number % len(KINDS)], list(CHANGES)[number // len(KINDS) % len(CHANGES)]
        content = CHANGES[change](rng, films[kind], films[rng.choice(KINDS)])
        yield Mutant(f"{number}: {kind}, {change}", content)
