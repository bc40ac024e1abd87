"""A second decoder, decord 0.6 (FFmpeg of 2021): the same pictures where it can read the video at all."""

from collections.abc import Sequence
from threading import Event
from time import monotonic

import cv2
import decord
import numpy as np
from numpy.typing import NDArray

from tools.video.decoders import DecodedFrames, pyav
from tools.video.frame import Frame, fit_size
from tools.video.limits import BadVideo, DecodingStopped
from tools.video.probe import ProbedVideo

_SEEKS = ("mov", "matroska")
"""Containers in which decord finds the asked picture; in MPEG-TS and FLV it was seen to return others."""

_SAMPLES, _SAMPLE_SIDE, _SAMPLE_DIFFERENCE = 12, 64, 8.0
"""Pictures compared with PyAV's on opening, their size in pixels, and the mean difference allowed of 255."""

_BATCH = 16
"""Pictures fetched at once: bounds the memory of a look."""

_SINGLE_PRECISION = 1e-6
"""decord keeps seconds as 32-bit floats: relative error allowed when its times are compared with ours."""


def check_readable(video: ProbedVideo) -> None:
    """Raise BadVideo unless decord finds the video's pictures: the same times, and the same on samples."""
    if not video.metadata.container.startswith(_SEEKS):
        raise BadVideo(f"The decoder decord cannot be trusted to find pictures in {video.metadata.container} files.")
    if video.timeline.open_groups:
        raise BadVideo("The decoder decord loses count in videos with open groups of pictures, like this one.")
    try:
        times = np.asarray(_open(video, -1, -1).get_frame_timestamp(range(len(video.timeline))))[:, 0]
    except (decord.DECORDError, RuntimeError, AssertionError, IndexError) as error:
        raise BadVideo(f"The decoder decord cannot read this video (codec {video.metadata.codec}).") from error
    ours = video.timeline.times
    if np.any(np.abs(times - ours) > video.timeline.usual_gap / 4 + _SINGLE_PRECISION * ours):
        raise BadVideo("The decoder decord reads other times from this video than its container gives.")
    last = len(ours) - 1
    samples = sorted({video.timeline.at_rank(last * i // _SAMPLES) for i in range(_SAMPLES + 1)})
    here, there = decode(video, samples, _SAMPLE_SIDE), pyav.decode(video, samples, _SAMPLE_SIDE)
    if not all(_alike(here.frames[p], frame) for p, frame in there.frames.items()):
        raise BadVideo("The decoder decord returns other pictures from this video than its container places there.")


def decode(video: ProbedVideo, wanted: Sequence[int], side: int, stop: Event | None = None) -> DecodedFrames:
    """See `DecoderLibrary.decode`. Raises BadVideo if decord fails on the way."""
    deadline = monotonic() + video.limits.max_decode_seconds
    size = _stored_size(video, side)
    turns = _decord_turns(video)
    rank = np.searchsorted(video.timeline.times, [video.timeline.seconds(p) - 1e-9 for p in wanted])
    frames: dict[int, Frame] = {}
    try:
        # decord mixes up the sides of videos that it turns by itself, so those are scaled here.
        reader = _open(video, *((-1, -1) if turns else size))
        for first in range(0, len(wanted), _BATCH):
            if stop is not None and stop.is_set():
                raise DecodingStopped
            if monotonic() > deadline:
                return DecodedFrames(frames, exhausted=True)
            batch = reader.get_batch(rank[first : first + _BATCH].tolist()).asnumpy()
            for position, picture in zip(wanted[first : first + _BATCH], batch, strict=True):
                image = picture if not turns else _scale(np.rot90(picture, -turns), size)
                frames[position] = Frame(video.timeline.seconds(position), video.orientation.upright(image))
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise BadVideo("The decoder decord failed while reading this video.") from error
    return DecodedFrames(frames)


def _open(video: ProbedVideo, width: int, height: int) -> "decord.VideoReader":
    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(video.path), width=width, height=height, num_threads=1)
    if len(reader) != len(video.timeline):
        raise BadVideo(f"The decoder decord sees {len(reader)} of this video's {len(video.timeline)} pictures.")
    return reader


def _scale(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    scaled = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, np.uint8)


def _alike(one: Frame, other: Frame) -> bool:
    if one.image.shape != other.image.shape:
        return False
    difference = np.abs(one.image.astype(np.int16) - other.image)
    return bool(difference.mean() <= _SAMPLE_DIFFERENCE)


def _decord_turns(video: ProbedVideo) -> int:
    """Quarter turns that decord applies by itself; it knows no mirrors and takes some for turns."""
    return (2 - video.orientation.turns) % 4 if video.orientation.mirrored else video.orientation.turns


def _stored_size(video: ProbedVideo, side: int) -> tuple[int, int]:
    """Width and height in pixels to scale a stored picture to."""
    width, height = fit_size(video.metadata.width, video.metadata.height, side)
    return (height, width) if video.orientation.turns % 2 else (width, height)
