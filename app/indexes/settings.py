"""How films are indexed, and how much of it: `SECONDLOOK_INDEX__` and the name in capitals."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from agents.budget import Budget
from agents.captioning import Captioning

_GIB = 1024**3
_DAY = 24 * 3600.0


class IndexSettings(BaseModel):
    """Captioning, keeping, and the limits of both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str = Field("hashed:", description="What makes vectors: hashed:, openai:…?model=…, sentences:…")
    embedder_key: SecretStr | None = Field(None, description="API key that the embedder asks for.")
    clip_seconds: float = Field(10.0, gt=0, le=600, description="Length of the shortest clips.")
    fps: float = Field(1.0, gt=0, le=30, description="Frames a second that these are captioned from.")
    clip_frames: int = Field(16, ge=1, description="Most frames of a clip.")
    clip_tokens: int = Field(128, ge=8, description="Longest caption.")
    at_once: int = Field(4, ge=1, description="Clips of a film captioned at once.")
    kept: int = Field(4096, ge=0, description="Descriptions kept that single questions asked for.")
    days: float = Field(30.0, gt=0, description="How long an index is kept that nobody opens.")
    memory_bytes: int = Field(_GIB, ge=1, description="Indexes kept open, by estimate.")

    max_builds: int = Field(1, ge=1, description="Films indexed whole at once; the next one waits.")
    max_waiting: int = Field(16, ge=0, description="Films that wait for it; the next one is told to come again.")
    max_lines: int = Field(200_000, ge=1, description="Captions and subtitles of one film.")
    max_clips: int = Field(10_000, ge=1, description="Clips of one film that are captioned.")
    max_bytes: int = Field(4 * _GIB, ge=1, description="Indexes of one tenant; with so much, none is begun.")
    max_hits: int = Field(100, ge=1, description="Most hits of one search.")
    max_frames: int = Field(100_000, ge=1, description="Frames shown to the model for one whole index.")
    max_tokens: int = Field(50_000_000, ge=1, description="Tokens read and written for one whole index.")
    max_calls: int = Field(20_000, ge=1, description="Calls to the model for one whole index.")
    max_seconds: float = Field(_DAY, gt=0, description="Seconds that one whole index may take.")

    @property
    def captioning(self) -> Captioning:
        """How clips are captioned."""
        return Captioning(self.clip_seconds, self.fps, self.clip_frames, self.clip_tokens, self.at_once, self.kept)

    @property
    def budget(self) -> Budget:
        """The most that building an index may spend."""
        return Budget(frames=self.max_frames, tokens=self.max_tokens, calls=self.max_calls, seconds=self.max_seconds)
