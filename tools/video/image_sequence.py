"""Given images as a video: for clients that have taken the frames of a video themselves."""

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from threading import Event

from tools.video.cache import FrameCache
from tools.video.decoders import Decoder, InProcessDecoder
from tools.video.frame import Frame
from tools.video.limits import BadVideo, VideoLimits
from tools.video.sampling import SampleWindow, Span
from tools.video.source import FrameBatch

_DEFAULT_SECONDS = 1.0
"""Seconds that a picture is shown where nothing says how long."""
_SLACK = 1e-6
"""Seconds by which a moment may miss its picture through rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSequence:
    """Encoded pictures, each shown from its own second until the next one's.

    Can be pickled if its decoder can; its cache empties. `id` is the sha256 of pictures and seconds in hex.
    """

    images: tuple[bytes, ...]
    times: tuple[float, ...]
    id: str
    limits: VideoLimits
    cache: FrameCache | None = None
    decoder: Decoder = InProcessDecoder()  # noqa: RUF009 - frozen

    @classmethod
    def open(
        cls,
        pictures: Sequence[bytes],
        times: Sequence[float] | None = None,
        *,
        cache: FrameCache | None = None,
        limits: VideoLimits = VideoLimits(),  # noqa: B008 - frozen
        decoder: Decoder = InProcessDecoder(),  # noqa: B008 - frozen
    ) -> "ImageSequence":
        """Check every picture's header. Without `times`, in seconds and increasing, one picture is shown a second.

        Raises BadVideo, naming the picture.
        """
        if not pictures:
            raise BadVideo("There is no picture.")
        shown = tuple(times) if times is not None else tuple(_DEFAULT_SECONDS * i for i in range(len(pictures)))
        if len(shown) != len(pictures) or not _increasing(shown):
            raise BadVideo("Each picture needs its own second, not negative and later than the one before.")
        limits.check_frames(len(pictures))
        limits.check_seconds(shown[-1] - shown[0])
        decoder.check_images(dict(enumerate(pictures)), limits)
        return cls(tuple(pictures), shown, _digest(pictures, shown), limits, cache, decoder)

    @property
    def span(self) -> Span:
        """From the first picture to the end of the last, which is shown as long as most are."""
        return Span(
            self.times[0], self.times[-1] + median([b - a for a, b in pairwise(self.times)] or [_DEFAULT_SECONDS])
        )

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.times)

    def time_of(self, rank: int) -> float:
        """When the n-th picture, from 0, is shown."""
        return self.times[rank]

    def count_within(self, span: Span) -> int:
        """How many pictures begin within a span, at least one."""
        return max(1, bisect_left(self.times, span.end) - bisect_left(self.times, span.start))

    def get_cached_frames(self, moments: Sequence[SampleWindow], side: int) -> FrameBatch | None:  # noqa: ARG002 - nothing is cached
        """None: nothing is kept ready."""
        return None

    def get_frames(self, moments: Sequence[SampleWindow], side: int, stop: Event | None = None) -> FrameBatch:
        """Frames for these moments; see `VideoSource.get_frames`.

        Where moments lie in the middle of equal parts of the whole, and there are at least as many as pictures, no
        picture is left out, however uneven their seconds.
        """
        if side < 1:
            raise ValueError("side is a number of pixels, at least 1")
        chosen = self._choose([moment.time for moment in moments])
        frames = self._frames(sorted(set(chosen)), side, stop)
        return FrameBatch(tuple(frames[number] for number in chosen))

    def _choose(self, times: Sequence[float]) -> list[int]:
        """The number of the picture for each second."""
        if not times:
            return []
        reach = (max(times) - min(times)) / max(1, len(times) - 1) / 2
        first, last = self._at(min(times) - reach), self._at(max(times) + reach - 2 * _SLACK)
        count = last - first + 1
        if len(times) < count:
            return [self._at(time) for time in times]
        order = sorted(range(len(times)), key=lambda place: times[place])
        chosen = {place: first + rank * count // len(times) for rank, place in enumerate(order)}
        return [chosen[place] for place in range(len(times))]

    def _at(self, time: float) -> int:
        """The picture that is shown at a second."""
        return max(0, bisect_right(self.times, time + _SLACK) - 1)

    def _frames(self, numbers: Sequence[int], side: int, stop: Event | None) -> dict[int, Frame]:
        """From the cache where possible."""
        known: dict[int, Frame] = {}
        for number in numbers if self.cache is not None else ():
            if self.cache is not None and (frame := self.cache.get(self._key(number, side))) is not None:
                known[number] = frame
        missing = {number: self.images[number] for number in numbers if number not in known}
        drawn = self.decoder.decode_images(missing, side, self.limits, stop) if missing else {}
        for number, image in drawn.items():
            known[number] = Frame(self.times[number], image)
            if self.cache is not None:
                self.cache.put(self._key(number, side), known[number])
        return known

    def _key(self, number: int, side: int) -> tuple[str, str, int, int]:
        return self.id, "picture", side, number


def _increasing(times: Sequence[float]) -> bool:
    return all(map(math.isfinite, times)) and times[0] >= 0 and all(a < b for a, b in pairwise(times))


def _digest(pictures: Sequence[bytes], times: Sequence[float]) -> str:
    whole = hashlib.sha256(repr(tuple(times)).encode())
    for data in pictures:
        whole.update(hashlib.sha256(data).digest())
    return whole.hexdigest()
