"""From single results to accuracies with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Result:
    """One question asked once with one setting of one program."""

    seed: int
    kind: str
    curve: str
    setting: str
    correct: bool
    confidence: float | None
    frames: int
    tokens: int
    cached: int
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All results of one setting. Costs are means per question; tokens are prompt and completion."""

    curve: str
    setting: str
    questions: int
    accuracy: float
    low: float
    high: float
    frames: float
    tokens: float
    cached: float
    calls: float
    seconds: float


def summarise(results: Iterable[Result]) -> list[Summary]:
    """One summary a setting, in the order in which the settings first appear."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.curve, result.setting), []).append(result)
    return [_summary(*key, rows) for key, rows in groups.items()]


def interval(rows: Sequence[Result]) -> tuple[float, float]:
    """95 % bootstrap interval of the accuracy. Videos are resampled, since questions about one video hang together."""
    ordered = sorted(rows, key=lambda row: row.seed)
    videos = [[row.correct for row in group] for _, group in groupby(ordered, key=lambda row: row.seed)]
    right = np.array([sum(video) for video in videos])
    asked = np.array([len(video) for video in videos])
    drawn = np.random.default_rng(0).integers(len(videos), size=(RESAMPLES, len(videos)))
    low, high = np.quantile(right[drawn].sum(1) / asked[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def calibration(rows: Sequence[Result], bins: int = 10) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over equal bins of confidence."""
    known = [(row.confidence, row.correct) for row in rows if row.confidence is not None]
    places: dict[int, list[tuple[float, bool]]] = {}
    for confidence, correct in known:
        places.setdefault(min(int(confidence * bins), bins - 1), []).append((confidence, correct))
    gaps = (abs(sum(c for c, _ in rows) - sum(right for _, right in rows)) for rows in places.values())
    return sum(gaps) / len(known) if known else float("nan")


def _summary(curve: str, setting: str, rows: Sequence[Result]) -> Summary:
    low, high = interval(rows)

    def mean(field: str) -> float:
        return float(sum(getattr(row, field) for row in rows) / len(rows))

    return Summary(
        curve=curve,
        setting=setting,
        questions=len(rows),
        accuracy=mean("correct"),
        low=low,
        high=high,
        frames=mean("frames"),
        tokens=mean("tokens"),
        cached=mean("cached"),
        calls=mean("calls"),
        seconds=mean("seconds"),
    )
