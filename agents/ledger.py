"""What a run really did, for its report. Only facts: nothing here is estimated."""

from __future__ import annotations

from collections.abc import Sequence

from agents.engine import Generation, Picture


class Ledger:
    """Sums over the calls of one run. `frame_times` lists, call by call, the exact seconds the model saw."""

    def __init__(self) -> None:
        self.frame_times: list[tuple[float, ...]] = []
        self.calls = 0
        self.paths = 0
        self.rounds = 0
        self.tool_calls = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.seconds = {"fetch": 0.0, "decode": 0.0, "model": 0.0}
        self.degraded: list[str] = []
        self._seen: set[str] = set()

    @property
    def frames_viewed(self) -> int:
        """Frames shown to the model, summed over calls."""
        return sum(len(times) for times in self.frame_times)

    @property
    def frames_unique(self) -> int:
        """Different frames among those shown."""
        return len(self._seen)

    def show(self, pictures: Sequence[Picture]) -> None:
        """Record that a call shows these pictures. It counts when it is made, whatever becomes of it."""
        self.calls += 1
        self.frame_times.append(tuple(round(picture.time, 3) for picture in pictures))
        self._seen.update(picture.key for picture in pictures)

    def bill(self, generation: Generation, seconds: float) -> None:
        """Record what a call brought and cost."""
        self.paths += len(generation.replies)
        self.prompt_tokens += generation.prompt_tokens
        self.cached_tokens += generation.cached_tokens
        self.completion_tokens += generation.completion_tokens
        self.seconds["model"] += seconds

    def degrade(self, *reasons: str) -> None:
        """Record what could not be honoured, in words for the caller, each once."""
        self.degraded.extend(reason for reason in reasons if reason not in self.degraded)
