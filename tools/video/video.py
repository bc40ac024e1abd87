"""An opened video: frames by sample windows, and subtitles."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from tools.video.cache import FrameCache
from tools.video.decoders import DecodedFrames, Decoder, InProcessDecoder
from tools.video.frame import Frame
from tools.video.limits import BadVideo, VideoLimits
from tools.video.probe import ProbedVideo, VideoMetadata
from tools.video.sampling import SampleWindow, Span
from tools.video.source import FrameBatch
from tools.video.subtitles import Cue, decode_text, find_sidecar

_LOG = logging.getLogger("secondlook.video")
_NAMED = 5
"""Seconds named one by one in a sentence about lost pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """An opened video. Holds no open file, so it can be shared by threads.

    It can be pickled if its decoder can, which decoders in the process can; its cache empties.
    """

    probed: ProbedVideo
    decoder: Decoder = InProcessDecoder()  # noqa: RUF009 - frozen
    cache: FrameCache | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        decoder: str | Decoder = "pyav",
        cache: FrameCache | None = None,
        limits: VideoLimits = VideoLimits(),  # noqa: B008 - frozen
        stop: Event | None = None,
    ) -> "Video":
        """Read a video's facts and every picture's time; decodes one picture.

        `decoder` is a library used in this process, by name, or something that decodes elsewhere. Raises
        BadVideo in plain words for what is not a readable video or beyond the limits, ValueError for an
        unknown library, and DecodingStopped if `stop` was set and could be heeded.
        """
        where = InProcessDecoder(decoder) if isinstance(decoder, str) else decoder
        return cls(where.probe(Path(path).absolute(), limits, stop), where, cache)

    @property
    def id(self) -> str:
        """The sha256 of the content in hex."""
        return self.probed.id

    @property
    def path(self) -> Path:
        """Absolute path of the file."""
        return self.probed.path

    @property
    def metadata(self) -> VideoMetadata:
        """Facts about the video."""
        return self.probed.metadata

    @property
    def span(self) -> Span:
        """The whole video, in seconds."""
        return Span(0.0, self.metadata.duration)

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.probed.timeline)

    def time_of(self, rank: int) -> float:
        """When the n-th picture, from 0, is shown."""
        return self.probed.timeline.seconds(self.probed.timeline.at_rank(rank))

    def count_within(self, span: Span) -> int:
        """How many pictures begin within a span, at least one."""
        return max(1, self.probed.timeline.count(span))

    def subtitles(self, given: str | None = None, stop: Event | None = None) -> tuple[Cue, ...]:
        """The subtitles: of the text of an .srt or .vtt file, else of one beside the video, else of the video itself.

        Blocks for as long as it takes to read the file once. Raises BadSubtitles for a given text, BadVideo,
        DecodingStopped.
        """
        if given is not None:
            return self.decoder.read_subtitles(self.probed, given, stop)
        if file := find_sidecar(self.path):
            try:
                return self.decoder.read_subtitles(self.probed, decode_text(file.read_bytes()), stop)
            except (BadVideo, OSError) as error:
                _LOG.warning("the subtitles in %s are passed over: %s", file, error)
        self.probed.check_unchanged()
        return self.decoder.read_subtitles(self.probed, None, stop) if self.metadata.subtitle_streams else ()

    def get_frames(self, moments: Sequence[SampleWindow], side: int, stop: Event | None = None) -> FrameBatch:
        """Frames for these moments, longest side at most `side` pixels, never enlarged.

        Seconds before the start or after the end give the first or the last picture. Raises ValueError
        for a side below 1, BadVideo if the file changed or none of the moments can be seen, and DecodingStopped soon
        after `stop` is set.
        """
        if side < 1:
            raise ValueError("side is a number of pixels, at least 1")
        self.probed.check_unchanged()
        positions = self._positions(moments)
        return self._look(moments, positions, self._read(_each(positions), side, stop))

    def get_cached_frames(self, moments: Sequence[SampleWindow], side: int) -> FrameBatch | None:
        """What `get_frames` would return if all of it is in the cache; else None. Reads nothing but the file's stamp.

        Raises BadVideo if the file changed.
        """
        if self.cache is None:
            return None
        self.probed.check_unchanged()
        positions = self._positions(moments)
        wanted = _each(positions)
        frames = self.cache.get_all([self._key(position, side) for position in wanted])
        if frames is None:
            return None
        return self._look(moments, positions, DecodedFrames(dict(zip(wanted, frames, strict=True))))

    def _look(
        self, moments: Sequence[SampleWindow], positions: Sequence[int | None], reading: DecodedFrames
    ) -> FrameBatch:
        frames = tuple(reading.frames[p] for p in positions if p is not None and p in reading.frames)
        degraded = tuple(self._complaints(moments, positions, reading))
        if moments and not frames:
            raise BadVideo(" ".join(degraded))
        return FrameBatch(frames, degraded)

    def _positions(self, moments: Sequence[SampleWindow]) -> Sequence[int | None]:
        """Packet position of the picture for each moment; None beyond where the file breaks off."""
        timeline, broken = self.probed.timeline, self.probed.truncated_at
        positions = timeline.choose(moments)
        if broken is None:
            return positions
        return [
            position if moment.time < broken or timeline.seconds(position) >= moment.early else None
            for moment, position in zip(moments, positions, strict=True)
        ]

    def _read(self, positions: list[int], side: int, stop: Event | None) -> DecodedFrames:
        """From the cache where possible; a damaged frame is never kept, so that it is reported every time."""
        known: dict[int, Frame] = {}
        if self.cache is not None:
            found = ((p, self.cache.get(self._key(p, side))) for p in positions)
            known = {position: frame for position, frame in found if frame is not None}
        missing = [position for position in positions if position not in known]
        if not missing:
            return DecodedFrames(known)
        reading = self.decoder.decode(self.probed, missing, side, stop)
        for position, frame in reading.frames.items():
            if self.cache is not None and position not in reading.damaged:
                self.cache.put(self._key(position, side), frame)
        return DecodedFrames(known | reading.frames, reading.damaged, reading.exhausted)

    def _key(self, position: int, side: int) -> tuple[str, str, int, int]:
        return self.id, self.decoder.name, side, position

    def _complaints(
        self, moments: Sequence[SampleWindow], positions: Sequence[int | None], reading: DecodedFrames
    ) -> list[str]:
        """What the caller has to know about this look, in sentences."""
        intact = self.probed.truncated_at is None and not self.probed.damaged and not reading.damaged
        if intact and len(reading.frames) == len(_each(positions)):
            return []
        said: list[str] = []
        total = len(moments)
        beyond = [m.time for m, p in zip(moments, positions, strict=True) if p is None]
        seen = [(m.time, p) for m, p in zip(moments, positions, strict=True) if p is not None]
        lost = [time for time, p in seen if p not in reading.frames]
        hurt = [time for time, p in seen if p in reading.damaged]
        if self.probed.damaged:
            said.append("Parts of this file are damaged and could not be read.")
        if beyond:
            said.append(
                f"The file breaks off after {self.probed.truncated_at:.1f} of {self.metadata.duration:.1f} "
                f"seconds; {len(beyond)} of {total} moments lie beyond ({_seconds(beyond)})."
            )
        if lost:
            why = (
                "were not reached within max_work and max_look_seconds" if reading.exhausted else "could not be decoded"
            )
            said.append(f"{len(lost)} of {total} pictures {why} ({_seconds(lost)}).")
        if hurt:
            said.append(f"{len(hurt)} of {total} pictures are damaged ({_seconds(hurt)}).")
        return said


def _each(positions: Sequence[int | None]) -> list[int]:
    """All there are, once, in order."""
    return sorted({position for position in positions if position is not None})


def _seconds(times: list[float]) -> str:
    named = ", ".join(f"{time:.1f} s" for time in times[:_NAMED])
    return f"at {named}, …" if len(times) > _NAMED else f"at {named}"
