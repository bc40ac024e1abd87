"""Videos that are damaged, forged or made to be expensive: always the same ones."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults.bombs import BOMBS
from tests.videos import SCRIPTS

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
    """What was done to which video, and the outcome."""

    name: str
    content: bytes


def _cut(rng: random.Random, video: bytes, _: bytes) -> bytes:
    return video[: rng.randrange(len(video))]


def _flip(rng: random.Random, video: bytes, _: bytes) -> bytes:
    return _flipped(rng, video, range(len(video)), rng.choice([1, 3, 10, 60, 400]))


def _flip_head(rng: random.Random, video: bytes, _: bytes) -> bytes:
    ends = [*range(min(_HEAD, len(video))), *range(max(0, len(video) - _HEAD), len(video))]
    return _flipped(rng, video, ends, rng.choice([1, 3, 10, 40]))


def _forge(rng: random.Random, video: bytes, _: bytes) -> bytes:
    """Write extreme numbers where sizes, counts and times may be."""
    forged = bytearray(video)
    for _turn in range(rng.choice([1, 2, 5])):
        place = rng.randrange(min(_HEAD, len(video) - 4)) if rng.random() < 0.7 else rng.randrange(len(video) - 4)
        forged[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), rng.choice(_NUMBERS))
    return bytes(forged)


def _splice(rng: random.Random, video: bytes, other: bytes) -> bytes:
    """The head of one video and the rest of another."""
    here = rng.choice([rng.randrange(min(_HEAD, len(video))), rng.randrange(len(video))])
    return video[:here] + other[rng.randrange(len(other)) :]


def _drop(rng: random.Random, video: bytes, _: bytes) -> bytes:
    start, length = rng.randrange(len(video)), rng.choice([1, 7, 188, 5000])
    return video[:start] + video[start + length :]


def _repeat(rng: random.Random, video: bytes, _: bytes) -> bytes:
    start, length = rng.randrange(len(video)), rng.choice([16, 188, 3000])
    return video[:start] + video[start : start + length] * rng.choice([2, 50]) + video[start:]


def _blank(rng: random.Random, video: bytes, _: bytes) -> bytes:
    start, length = rng.randrange(len(video)), rng.choice([4, 64, 4096])
    return (video[:start] + rng.choice([b"\0", b"\xff"]) * length + video[start + length :])[: len(video)]


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


def _flipped(rng: random.Random, video: bytes, places: range | list[int], count: int) -> bytes:
    flipped = bytearray(video)
    for place in rng.choices(places, k=count):
        flipped[place] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def mutants(folder: Path, count: int, seed: int = 11) -> Iterator[Mutant]:
    """So many, the bombs first, then every change of every kind of video in turn."""
    videos = {kind: SCRIPTS[kind].shoot(folder, kind).read_bytes() for kind in KINDS}
    for name, bomb in BOMBS.items():
        yield Mutant(name, bomb(folder))
    for number in range(count - len(BOMBS)):
        rng = random.Random(seed * 1_000_000 + number)
        kind, change = KINDS[number % len(KINDS)], list(CHANGES)[number // len(KINDS) % len(CHANGES)]
        content = CHANGES[change](rng, videos[kind], videos[rng.choice(KINDS)])
        yield Mutant(f"{number}: {kind}, {change}", content)
