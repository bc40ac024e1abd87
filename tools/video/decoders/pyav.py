"""The default decoder: every group of pictures once, forward, straight to the asked size."""

from collections.abc import Iterator, Sequence
from threading import Event
from time import monotonic

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from tools.video.container import VideoContainer, open_container
from tools.video.decoders import DecodedFrames
from tools.video.frame import Frame
from tools.video.limits import DecodingStopped
from tools.video.probe import ProbedVideo
from tools.video.timeline import DecodeRange


class _LimitReached(Exception):
    """The look has decoded as many pixels as it may, or for as long."""


def check_readable(video: ProbedVideo) -> None:
    """Nothing to add: a video is only opened once PyAV has decoded a picture of it."""


def decode(video: ProbedVideo, wanted: Sequence[int], side: int, stop: Event | None = None) -> DecodedFrames:
    """See `DecoderLibrary.decode`. Raises BadVideo if the file can no longer be opened."""
    with open_container(video.path, video.limits) as opened:
        reader = _Reader(video, opened, side, stop)
        try:
            for walk in video.timeline.decode_ranges(wanted):
                reader.decode_range(walk)
            missing = [position for position in wanted if position not in reader.frames]
            for walk in video.timeline.decode_ranges(missing, back=1):
                reader.decode_all(walk)
        except _LimitReached:
            return DecodedFrames(reader.frames, frozenset(reader.damaged), exhausted=True)
        return DecodedFrames(reader.frames, frozenset(reader.damaged))


class _Reader:
    """Walks through one opened video and keeps the wanted pictures."""

    def __init__(self, video: ProbedVideo, opened: VideoContainer, side: int, stop: Event | None) -> None:
        self.frames: dict[int, Frame] = {}
        self.damaged: set[int] = set()
        self._video = video
        self._opened = opened
        self._side = side
        self._scaler = VideoReformatter()
        self._stop = stop
        self._work = video.limits.max_decoded_pixels
        self._deadline = monotonic() + video.limits.max_decode_seconds

    def decode_range(self, walk: DecodeRange) -> None:
        """Decode to the last target, leaving out pictures that nothing on the way refers to."""
        pts = {int(self._video.timeline.pts[target]): target for target in walk.targets}
        errors = self._opened.errors
        for position, packet in self._opened.packets_from(self._video.timeline, walk.start):
            self._keep(self._opened.decode(packet, position in walk.targets), pts, errors)
            self._spend()
            if position >= walk.targets[-1]:
                break
        # Everything the last target refers to lies before it in the file, so draining brings it out.
        self._keep(self._opened.decode(None), pts, errors)

    def decode_all(self, walk: DecodeRange) -> None:
        """Second try for pictures that did not come out: from farther back, everything decoded.

        A packet may hold no picture of its own (the second field of a frame, a hidden reference): on screen
        is then the last picture before it, unless damage ate the true one.
        """
        pts = self._video.timeline.pts
        errors = self._opened.errors
        pending = sorted(walk.targets, key=lambda target: int(pts[target]), reverse=True)
        previous: VideoFrame | None = None
        for frame in self._through(walk):
            while pending and frame.pts > pts[pending[-1]]:
                self._settle(pending.pop(), previous, errors)
            if not pending:
                return
            previous = frame
        for target in pending:
            self._settle(target, previous, errors)

    def _through(self, walk: DecodeRange) -> Iterator[VideoFrame]:
        """Every picture with a time, in the order shown, to the end of the last target's group."""
        keys = self._video.timeline.keys
        beyond = keys[keys > walk.targets[-1]]
        end = int(beyond[0]) if len(beyond) else len(self._video.timeline.pts)
        for position, packet in self._opened.packets_from(self._video.timeline, walk.start):
            if position >= end:
                break
            self._spend()
            yield from (frame for frame in self._opened.decode(packet) if frame.pts is not None)
        yield from (frame for frame in self._opened.decode(None) if frame.pts is not None)

    def _settle(self, target: int, frame: VideoFrame | None, errors: int) -> None:
        whole = self._opened.errors == errors
        if frame is not None and (whole or frame.pts == self._video.timeline.pts[target]):
            self._add(target, frame, errors)

    def _keep(self, frames: list[VideoFrame], pts: dict[int, int], errors: int) -> None:
        for frame in frames:
            target = pts.get(frame.pts) if frame.pts is not None else None
            if target is not None:
                self._add(target, frame, errors)

    def _add(self, target: int, frame: VideoFrame, errors: int) -> None:
        orientation = self._video.orientation
        width, height = orientation.stored_size(frame.width, frame.height, self._side)
        image = self._scaler.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1)
        timeline = self._video.timeline
        time = (int(frame.pts or 0) - timeline.start) * float(timeline.tick)
        self.frames[target] = Frame(time, orientation.upright(np.asarray(image.to_ndarray(), np.uint8)))
        if frame.is_corrupt or self._opened.errors > errors:
            self.damaged.add(target)

    def _spend(self) -> None:
        context = self._opened.stream.codec_context
        self._work -= max(1, context.width * context.height)
        if self._stop is not None and self._stop.is_set():
            raise DecodingStopped
        if self._work < 0 or monotonic() > self._deadline:
            raise _LimitReached
