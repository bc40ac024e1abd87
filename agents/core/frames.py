"""Load a video's frames off the event loop, once each for a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from threading import Event
from time import perf_counter

from agents.core.trace import FramesEvent, Trace
from agents.core.usage import RunUsage
from agents.engines.base import Picture
from tools.base import Box
from tools.video.limits import BadVideo
from tools.video.sampling import SampleWindow
from tools.video.source import FrameBatch, VideoSource


async def load_frames(footage: VideoSource, moments: Sequence[SampleWindow], side: int) -> FrameBatch:
    """Frames, decoded in a thread unless they are at hand; when this is cancelled, decoding stops. Raises BadVideo."""
    if (known := footage.get_cached_frames(moments, side)) is not None:
        return known
    stop = Event()
    try:
        return await asyncio.to_thread(footage.get_frames, moments, side, stop)
    finally:
        stop.set()


_LARGEST_SIDE = 4096  # pixels; the longest side to which a picture is decoded to see a part of it


class FrameLoader:
    """One video, seen at most `side` pixels large. `latest` are the pictures of the last look."""

    def __init__(self, video: VideoSource, side: int, ledger: RunUsage, trace: Trace) -> None:
        self._video = video
        self._side = side
        self._ledger = ledger
        self._trace = trace
        self._pictures: dict[SampleWindow, Picture] = {}
        self.latest: tuple[Picture, ...] = ()

    async def load(self, moments: Sequence[SampleWindow]) -> tuple[Picture, ...]:
        """Pictures of these moments, in order of time. Raises BadVideo."""
        began = perf_counter()
        missing = [moment for moment in dict.fromkeys(moments) if moment not in self._pictures]
        if missing:
            await self._decode(missing)
        found = {p.key: p for moment in moments if (p := self._pictures.get(moment)) is not None}
        pictures = tuple(sorted(found.values(), key=lambda picture: picture.time))
        if moments and not pictures:
            raise BadVideo("None of the frames that were asked for can be read.")
        self._tell(pictures, began)
        self.latest = pictures
        return pictures

    async def load_crop(self, moments: Sequence[SampleWindow], box: Box) -> tuple[Picture, ...]:
        """One part of some pictures, decoded as large as it takes to fill a frame. Raises BadVideo."""
        began = perf_counter()
        left, top, right, bottom = box
        side = min(_LARGEST_SIDE, round(self._side / max(right - left, bottom - top)))
        seen = await load_frames(self._video, moments, side)
        self._ledger.add_degradation(*seen.degraded)
        name = "-".join(map(repr, box))  # exactly: a key is never that of other pixels
        parts = (frame.cropped(left, top, right, bottom).resized(self._side) for frame in seen.frames)
        pictures = tuple(Picture(part, f"{self._video.id}:{part.time:.6f}:{self._side}:{name}") for part in parts)
        self._tell(pictures, began)
        return pictures

    def _tell(self, pictures: Sequence[Picture], began: float) -> None:
        seconds = perf_counter() - began
        self._ledger.seconds["decode"] += seconds
        self._trace.add(FramesEvent(times=tuple(round(each.time, 3) for each in pictures), seconds=seconds))

    async def _decode(self, moments: Sequence[SampleWindow]) -> None:
        seen = await load_frames(self._video, moments, self._side)
        self._ledger.add_degradation(*seen.degraded)
        whole = len(seen.frames) == len(moments)
        for index, frame in enumerate(seen.frames):
            # Of a damaged video some moments bring no frame: then each frame belongs to the moment nearest to it.
            moment = moments[index] if whole else min(moments, key=lambda each: abs(each.time - frame.time))
            self._pictures[moment] = Picture(frame, f"{self._video.id}:{frame.time:.6f}:{self._side}")
