"""Decoders of videos: one module for each library, one contract, loaded when first asked for."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from tools.video import still_images
from tools.video.frame import Frame
from tools.video.limits import DecodingStopped, VideoLimits
from tools.video.probe import ProbedVideo, file_sha256, file_stamp, probe_video
from tools.video.subtitles import Cue, parse_subtitles, read_subtitles

DECODERS = ("pyav", "decord")
"""pyav is always there; decord needs the extra of that name."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrames:
    """Frames by packet position, those of them that came out damaged, and whether a limit ended it."""

    frames: dict[int, Frame]
    damaged: frozenset[int] = frozenset()
    exhausted: bool = False


class DecoderLibrary(Protocol):
    """What the module of a decoding library offers."""

    def check_readable(self, video: ProbedVideo) -> None:
        """Raise BadVideo, naming this library, if it cannot read this video."""

    def decode(self, video: ProbedVideo, wanted: Sequence[int], side: int, stop: Event | None = None) -> DecodedFrames:
        """Frames at packet positions of the video's timeline, upright, longest side at most `side` pixels.

        What cannot be decoded is left out, never replaced by another picture. Raises BadVideo, and DecodingStopped
        soon after `stop` is set.
        """


class Decoder(Protocol):
    """Where videos are decoded: in this process or out of it."""

    @property
    def name(self) -> str:
        """The library it uses."""

    def probe(self, path: Path, limits: VideoLimits, stop: Event | None = None) -> ProbedVideo:
        """Everything that has to be known to find pictures in a file. Raises BadVideo, DecodingStopped."""

    def decode(self, video: ProbedVideo, wanted: Sequence[int], side: int, stop: Event | None = None) -> DecodedFrames:
        """See `DecoderLibrary.decode`."""

    def read_subtitles(
        self, video: ProbedVideo, beside: str | None = None, stop: Event | None = None
    ) -> tuple[Cue, ...]:
        """A video's subtitles, or those of a text in their format. Raises BadVideo, DecodingStopped."""

    def check_images(self, pictures: Mapping[int, bytes], limits: VideoLimits) -> None:
        """Raise BadVideo if one of these encoded stills, known by their numbers from 0, is none or too large."""

    def decode_images(
        self, pictures: Mapping[int, bytes], side: int, limits: VideoLimits, stop: Event | None = None
    ) -> dict[int, NDArray[np.uint8]]:
        """Encoded stills by number as (height, width, 3) RGB, longest side at most `side` pixels.

        Raises BadVideo, naming the picture, and DecodingStopped.
        """


@dataclass(frozen=True, slots=True)
class InProcessDecoder:
    """Decodes on the calling thread: quickest to start, and as safe as the library is. Picklable."""

    name: str = "pyav"

    def probe(self, path: Path, limits: VideoLimits, stop: Event | None = None) -> ProbedVideo:
        """See `Decoder.probe`. Raises ValueError for an unknown library; opening is not stopped."""
        library = load_decoder(self.name)
        if stop is not None and stop.is_set():
            raise DecodingStopped
        limits.check_bytes(file_stamp(path)[0])
        video = probe_video(path, file_sha256(path), limits)
        library.check_readable(video)
        return video

    def decode(self, video: ProbedVideo, wanted: Sequence[int], side: int, stop: Event | None = None) -> DecodedFrames:
        """See `DecoderLibrary.decode`."""
        return load_decoder(self.name).decode(video, wanted, side, stop)

    def read_subtitles(
        self, video: ProbedVideo, beside: str | None = None, stop: Event | None = None
    ) -> tuple[Cue, ...]:
        """See `Decoder.read_subtitles`. Is not stopped once it has begun."""
        if stop is not None and stop.is_set():
            raise DecodingStopped
        return read_subtitles(video) if beside is None else parse_subtitles(beside, video.metadata.duration)

    def check_images(self, pictures: Mapping[int, bytes], limits: VideoLimits) -> None:
        """See `Decoder.check_images`."""
        still_images.check_images(pictures, limits)

    def decode_images(
        self, pictures: Mapping[int, bytes], side: int, limits: VideoLimits, stop: Event | None = None
    ) -> dict[int, NDArray[np.uint8]]:
        """See `Decoder.decode_images`."""
        return still_images.decode_images(pictures, side, limits, stop)


def load_decoder(name: str) -> DecoderLibrary:
    """A library by name. Raises ValueError for an unknown one or one that is not installed."""
    if name not in DECODERS:
        raise ValueError(f"there is no decoder {name!r}; there are {', '.join(DECODERS)}")
    try:
        return cast(DecoderLibrary, importlib.import_module(f"{__name__}.{name}"))
    except ImportError as error:
        raise ValueError(f"the decoder {name!r} is not installed here: {error}") from error
