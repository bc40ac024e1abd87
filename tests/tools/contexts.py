"""Videos and indexes on which tools are tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.context import ToolContext, ViewLimits
from tools.index.entries import IndexEntry
from tools.index.index import Index
from tools.video.source import VideoSource


def index_entry(start: float, end: float, text: str, source: str = "caption", level: float = 10.0) -> IndexEntry:
    """A line of an index. Its id follows from its place."""
    name = f"c:{level:g}:{int(start / level)}" if source == "caption" else f"s:{int(start * 10)}"
    return IndexEntry(name, start, end, text, source, level if source == "caption" else 0.0)  # type: ignore[arg-type]


def tool_context(
    video: VideoSource, lines: Sequence[IndexEntry] = (), *, limits: ViewLimits | None = None, **more: Any
) -> ToolContext:
    """A whole video with these lines."""
    index = Index(video.span.end, lines)
    return ToolContext(video, video.span, index, limits or ViewLimits(), ((64, 16), (48, 9), (36, 5)), **more)
