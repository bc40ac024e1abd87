"""Films and indexes on which tools are tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.footage import Footage
from tools.index import Index, Line
from tools.scene import Scene, ViewLimits


def line(start: float, end: float, text: str, source: str = "caption", level: float = 10.0) -> Line:
    """A line of an index. Its id follows from its place."""
    name = f"c:{level:g}:{int(start / level)}" if source == "caption" else f"s:{int(start * 10)}"
    return Line(name, start, end, text, source, level if source == "caption" else 0.0)  # type: ignore[arg-type]


def scene(video: Footage, lines: Sequence[Line] = (), *, limits: ViewLimits | None = None, **more: Any) -> Scene:
    """A whole film with these lines."""
    index = Index(video.span.end, lines)
    return Scene(video, video.span, index, limits or ViewLimits(), ((64, 16), (48, 9), (36, 5)), **more)
