"""A look that nobody waits for stops in its thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.core.frames import load_frames
from tools.video.cache import FrameCache
from tools.video.decoders import DecodedFrames
from tools.video.limits import DecodingStopped, VideoLimits
from tools.video.probe import ProbedVideo
from tools.video.sampling import SampleWindow, grid
from tools.video.subtitles import Cue
from tools.video.video import Video


class Endless:
    """A decoder that only ends when told to; it decodes nothing."""

    name = "endless"

    def __init__(self) -> None:
        self.stopped = Event()

    def probe(self, path: Path, limits: VideoLimits, stop: Event | None = None) -> ProbedVideo:
        """Not asked for."""
        raise NotImplementedError

    def decode(self, video: ProbedVideo, wanted: Sequence[int], side: int, stop: Event | None = None) -> DecodedFrames:
        """Wait to be stopped."""
        assert (video, wanted, side) and stop is not None
        assert stop.wait(10)
        self.stopped.set()
        raise DecodingStopped

    def check_images(self, pictures: Mapping[int, bytes], limits: VideoLimits) -> None:
        """Not asked for."""
        raise NotImplementedError

    def decode_images(
        self, pictures: Mapping[int, bytes], side: int, limits: VideoLimits, stop: Event | None = None
    ) -> dict[int, NDArray[np.uint8]]:
        """Not asked for."""
        raise NotImplementedError

    def read_subtitles(
        self, video: ProbedVideo, beside: str | None = None, stop: Event | None = None
    ) -> tuple[Cue, ...]:
        """Not asked for."""
        raise NotImplementedError


def test_a_cancelled_look_stops_decoding(video_path: Path) -> None:
    decoder = Endless()
    video = Video(Video.open(video_path).probed, decoder)

    async def leave() -> None:
        async with asyncio.timeout(0.1):
            await load_frames(video, grid(video.span, 2), 64)

    with pytest.raises(TimeoutError):
        asyncio.run(leave())
    assert decoder.stopped.wait(1)


def test_a_look_that_is_awaited_comes_whole(video_path: Path) -> None:
    seen = asyncio.run(load_frames(Video.open(video_path), [SampleWindow.at(2.0), SampleWindow.at(5.0)], 64))
    assert [frame.time for frame in seen.frames] == [2.0, 5.0]


def test_what_is_at_hand_is_not_waited_for(video_path: Path) -> None:
    video = Video.open(video_path, cache=FrameCache(10**7))
    moments = grid(video.span, 4)
    first = asyncio.run(load_frames(video, moments, 64))
    decoder = Endless()
    decoder.name = video.decoder.name
    again = asyncio.run(load_frames(Video(video.probed, decoder, video.cache), moments, 64))
    assert [one is other for one, other in zip(first.frames, again.frames, strict=True)] == [True] * 4
    assert again.degraded == first.degraded
