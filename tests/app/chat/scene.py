"""Conversations to send: about the test video, or about pictures of one grey each."""

from __future__ import annotations

import io
from base64 import b64encode
from pathlib import Path
from typing import Any

from PIL import Image

CHOICE = "Which colour is seen?\nA. red\nB. green\nC. blue\nD. grey\nAnswer with the option's letter only."
OPEN = "Describe the film."


def picture(level: int = 0, kind: str = "PNG") -> str:
    """A picture of one grey as a data: URL."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (level, level, level)).save(file, kind)
    return f"data:image/{kind.lower()};base64,{b64encode(file.getvalue()).decode()}"


def shown(*levels: int, labels: list[float] | None = None) -> list[dict[str, Any]]:
    """Pictures as parts, each after its label if there are any."""
    parts: list[dict[str, Any]] = []
    for at, level in enumerate(levels):
        if labels is not None:
            parts.append({"type": "text", "text": f"<{labels[at]:.1f} seconds>"})
        parts.append({"type": "image_url", "image_url": {"url": picture(level)}})
    return parts


def filmed(video_path: Path) -> dict[str, Any]:
    """The video as a part that names the file by its data."""
    data = b64encode(video_path.read_bytes()).decode()
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}}


def says(role: str, *parts: dict[str, Any] | str) -> dict[str, Any]:
    """A message."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return {"role": role, "content": parts[0]}
    return {"role": role, "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def chat(*parts: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """A request with one message of the user."""
    return {"model": "scripted", "messages": [says("user", *parts)], **fields}
