"""What a client is given: where two services are, keys for them, and videos. Used in the client's own environment."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Question:
    """A question about a video: its words with the options below them, and the letters that our own route answers."""

    video: str
    url: str
    frames: list[str]
    text: str
    letter: str
    pictured_letter: str

    @property
    def data(self) -> str:
        """The video as a data: URL."""
        return f"data:video/mp4;base64,{b64encode(Path(self.video).read_bytes()).decode()}"

    def asked(self, *media: dict[str, Any]) -> list[dict[str, Any]]:
        """A conversation with some media in it."""
        return [{"role": "user", "content": [*media, {"type": "text", "text": self.text}]}]

    def filmed(self, url: str | None = None) -> list[dict[str, Any]]:
        """A conversation that shows the video, by a URL or as it is."""
        return self.asked({"type": "video_url", "video_url": {"url": url or self.data}})

    def pictured(self) -> list[dict[str, Any]]:
        """A conversation that shows the video's frames one by one."""
        return self.asked(*({"type": "image_url", "image_url": {"url": frame}} for frame in self.frames))


@dataclass(frozen=True)
class Scene:
    """A service with the demo model, and one whose model takes its time; `other` is the key of another tenant."""

    base: str
    key: str
    other: str
    model: str
    slow_base: str
    slow_key: str
    slow_model: str
    questions: list[Question]
