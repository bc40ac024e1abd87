"""What a run really did, for its report. Only facts: nothing here is estimated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.engines.base import Generation, Picture
from tools.base import Fact


@dataclass(frozen=True, eq=False)
class ShownFrames:
    """What one call shows: the exact seconds, and what the pictures are."""

    times: tuple[float, ...]
    keys: tuple[str, ...]


class RunUsage:
    """Sums over the calls of one run. `captions`: how much of them went into captions, by name."""

    def __init__(self) -> None:
        self._views: list[ShownFrames] = []
        self.samples = 0
        self.rounds = 0
        self.tool_calls = 0
        self.subtitles = False
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.seconds = {"fetch": 0.0, "decode": 0.0, "model": 0.0}
        self.captions: dict[str, float] = {}
        self.degraded: list[str] = []

    @property
    def calls(self) -> int:
        """Requests to the model."""
        return len(self._views)

    @property
    def frame_times(self) -> list[tuple[float, ...]]:
        """Call by call, the exact seconds that the model saw."""
        return [view.times for view in self._views]

    @property
    def frames_viewed(self) -> int:
        """Frames shown to the model, summed over calls."""
        return sum(len(times) for times in self.frame_times)

    @property
    def frames_unique(self) -> int:
        """Different frames among those shown."""
        return len({key for view in self._views for key in view.keys})

    def record_frames(self, pictures: Sequence[Picture]) -> ShownFrames:
        """Record that a call shows these pictures. It counts when it is made, whatever becomes of it."""
        times = tuple(round(picture.time, 3) for picture in pictures)
        view = ShownFrames(times, tuple(picture.key for picture in pictures))
        self._views.append(view)
        return view

    def remove_frames(self, view: ShownFrames) -> None:
        """The call was refused unread: the model saw nothing."""
        self._views.remove(view)

    def record_generation(self, generation: Generation, seconds: float) -> None:
        """Record what a call brought and cost."""
        self.samples += len(generation.replies)
        self.prompt_tokens += generation.prompt_tokens
        self.cached_tokens += generation.cached_tokens
        self.completion_tokens += generation.completion_tokens
        self.seconds["model"] += seconds

    def record_caption(self, cost: Mapping[str, float]) -> None:
        """Record that some of what was billed went into a caption."""
        for name, amount in cost.items():
            self.captions[name] = self.captions.get(name, 0.0) + amount

    def record_facts(self, facts: Iterable[Fact]) -> None:
        """Record where words come from that were read."""
        self.subtitles = self.subtitles or any(fact.origin == "subtitle" for fact in facts)

    def add_degradation(self, *reasons: str) -> None:
        """Record what could not be honoured, in words for the caller, each once."""
        self.degraded.extend(reason for reason in reasons if reason not in self.degraded)
