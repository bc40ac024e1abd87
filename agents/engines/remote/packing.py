"""How frames are shown: one by one, each after its second, or many as one video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.engine import Picture, Prompt

SECONDS = "Frames at the seconds {}:\n"
_RATE = 100  # ticks a second: how exactly a video tells its seconds


@dataclass(frozen=True, slots=True)
class Clip:
    """Pictures that are shown as a video: in order of time, all of one size."""

    pictures: tuple[Picture, ...]

    def clock(self, *, absolute: bool) -> dict[str, Any]:
        """vLLM's arguments for a video that tells when its frames really are, however unevenly.

        Where a model knows but a mean rate, that must be of these frames alone: then time starts at the first of them.
        """
        times = [picture.time for picture in self.pictures]
        start, count = 0.0 if absolute else times[0], len(times)
        ticks = [round((time - start) * _RATE) for time in times]
        length = ticks[-1] + 1 if absolute else round(ticks[-1] * count / (count - 1))
        length = max(length, count)
        return {
            "num_frames": -1,  # all that are sent, instead of the first 32
            "fps": _RATE,
            "frames_indices": ticks,
            "total_num_frames": length,
            "duration": length / _RATE,
            "do_sample_frames": False,
        }

    @property
    def seconds(self) -> str:
        """The words before it, where the video itself cannot tell them."""
        return SECONDS.format(", ".join(f"{picture.time:.1f}" for picture in self.pictures))


Shown = Picture | Clip
Part = str | Shown


def packed(prompt: Prompt) -> tuple[tuple[Part, ...], ...]:
    """The parts of each message with the longest run of pictures as a clip.

    Only one, because a server reads one clock for all videos of a request. Other pictures are shown one by one.
    """
    runs = [(place, run) for place, message in enumerate(prompt) for run in _runs(message.parts)]
    place, longest = max(runs, key=lambda each: len(each[1]), default=(0, range(0)))
    parts: list[tuple[Part, ...]] = [message.parts for message in prompt]
    if len(longest) > 1:
        before, after = parts[place][: longest.start], parts[place][longest.stop :]
        run = (part for part in parts[place][longest.start : longest.stop] if isinstance(part, Picture))
        parts[place] = (*before, Clip(tuple(run)), *after)
    return tuple(parts)


def shown_in(parts: Sequence[Part]) -> list[Shown]:
    """What is no words."""
    return [part for part in parts if not isinstance(part, str)]


def told(parts: Sequence[Part], words: Callable[[float], str], *, written: bool) -> list[Part]:
    """The parts with the words before each picture, and before a clip that cannot tell its seconds itself."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, Picture):
            found.append(words(part.time))
        elif isinstance(part, Clip) and written:
            found.append(part.seconds)
        found.append(part)
    return found


def _runs(parts: Sequence[str | Picture]) -> list[range]:
    """Places of pictures that may follow one another in a clip."""
    runs: list[range] = []
    before: str | Picture = ""
    for place, part in enumerate(parts):
        if isinstance(part, Picture):
            follows = isinstance(before, Picture) and _follows(before, part)
            start = runs.pop().start if follows else place
            runs.append(range(start, place + 1))
        before = part
    return runs


def _follows(before: Picture, after: Picture) -> bool:
    same_size = (before.frame.width, before.frame.height) == (after.frame.width, after.frame.height)
    return same_size and before.time <= after.time
