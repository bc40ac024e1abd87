"""Accuracy against tokens, one curve a program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib import pyplot

from tests.bench.statistics import Summary

matplotlib.use("Agg")


def draw(summaries: Sequence[Summary], path: Path, title: str) -> None:
    """Write a PNG: tokens per question (logarithmic) against accuracy with its 95 % interval."""
    figure, axes = pyplot.subplots(figsize=(9, 5.5), dpi=110)
    for curve in dict.fromkeys(each.curve for each in summaries):
        points = sorted((each for each in summaries if each.curve == curve), key=lambda each: each.tokens)
        below = [each.accuracy - each.low for each in points]
        above = [each.high - each.accuracy for each in points]
        axes.errorbar(
            [each.tokens for each in points],
            [each.accuracy for each in points],
            yerr=[below, above],
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.4,
            elinewidth=0.7,
            label=curve,
        )
    axes.set_xscale("log")
    axes.set_xlabel("prompt and completion tokens per question")
    axes.set_ylabel("accuracy")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
