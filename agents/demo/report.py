"""The marks of an evaluation as tables, each share with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from agents.demo.evaluate import Mark, calibration_error, separation, wilson


def tables(marks: Sequence[Mark]) -> Iterator[Table]:
    """By number of frames, then by kind of question at each number of frames."""
    for style in dict.fromkeys(mark.style for mark in marks):
        chosen = [mark for mark in marks if mark.style == style]
        yield _table(f"{style}, by frames", chosen, lambda mark: f"{mark.frames:3d} frames")
        yield _table(f"{style}, by kind", chosen, lambda mark: f"{mark.kind} at {mark.frames}")


def _table(title: str, marks: Sequence[Mark], key: Callable[[Mark], str]) -> Table:
    table = Table("", "questions", "right", "95 %", "confidence", "ECE", "AUC", "unreadable", title=title)
    for name in sorted({key(mark) for mark in marks}):
        table.add_row(name, *_cells([mark for mark in marks if key(mark) == name]))
    return table


def _cells(marks: Sequence[Mark]) -> list[str]:
    right = sum(mark.right for mark in marks)
    low, high = wilson(right, len(marks))
    sure = [mark.confidence for mark in marks if mark.confidence is not None]
    checks = {mark.said for mark in marks} >= {"true", "false"}
    rated = bool(sure) and marks[0].style == "direct"
    return [
        str(len(marks)),
        f"{right / len(marks):.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{sum(sure) / len(sure):.3f}" if rated else "",
        f"{calibration_error(marks):.3f}" if rated else "",
        f"{separation(marks):.3f}" if checks else "",
        str(sum(mark.said == "unreadable" for mark in marks)),
    ]
