"""Subtitles: in the video file itself, or in an .srt or .vtt file beside it, as FFmpeg reads them."""

import io
import math
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from tools.video.container import open_container
from tools.video.limits import BadVideo
from tools.video.probe import ProbedVideo

MAX_CUES = 20_000
MAX_CHARACTERS = 1000
"""Of one line; what is longer is cut."""
MAX_BYTES = 8 << 20
"""Of a file of subtitles."""
_TEXT_CODECS = frozenset({"ass", "mov_text", "ssa", "subrip", "text", "webvtt"})
"""Codecs whose subtitles are text; others are pictures."""
_LONGEST_SECONDS = 10.0
"""How long a line stays that does not say when it goes."""
_SUFFIXES = (".srt", ".vtt")

_STYLE = re.compile(r"\{[^}]*\}")
_DRAWING = re.compile(r"\{[^}]*\\p[1-9]")
_SPEAKER = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>\n]+)>")
_WHOLE_SECONDS = re.compile(r"(\d:\d\d:\d\d)(?![\d,.])(?=[^\n]*-->|\s*$)", re.MULTILINE)


class Cue(NamedTuple):
    """One subtitle, with its first and last second since the first picture of the video."""

    start: float
    end: float
    text: str


class BadSubtitles(BadVideo):
    """The subtitles cannot be read. The message is for the client that sent them."""


def read_subtitles(video: ProbedVideo) -> tuple[Cue, ...]:
    """The first text track of a video that says anything; empty if there is none. Raises BadVideo."""
    offset = video.timeline.start * float(video.timeline.tick)
    with open_container(video.path, video.limits) as opened:
        for stream in opened.container.streams.subtitles:
            if stream.codec_context is not None and stream.codec_context.codec.canonical_name in _TEXT_CODECS:
                _select_stream(opened.container, stream)
                if cues := _tidy(_cues(opened.container, stream, offset), video.metadata.duration):
                    return cues
                opened.seek(0)
    return ()


def parse_subtitles(text: str, duration: float) -> tuple[Cue, ...]:
    """The cues of an .srt or .vtt file within a video of so many seconds. Raises BadSubtitles."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip()
    kind = "webvtt" if text.startswith("WEBVTT") else "srt"
    if kind == "srt" and "-->" not in text:
        raise BadSubtitles("These are no subtitles in SRT or WebVTT format.")
    plain = _WHOLE_SECONDS.sub(r"\1,000", text) if kind == "srt" else _SPEAKER.sub(r"\1: ", text)
    try:
        with av.open(io.BytesIO(plain.encode()), "r", format=kind) as container:
            cues = _tidy(_cues(container, container.streams.subtitles[0], 0.0), duration)
    except (FFmpegError, ValueError, IndexError) as error:
        raise BadSubtitles("These subtitles cannot be read.") from error
    if not cues:
        raise BadSubtitles("There is no line in these subtitles that belongs to the video.")
    return cues


def decode_text(data: bytes) -> str:
    """A file of subtitles as text: by its byte order mark; else UTF-8; else what Windows wrote in the west.

    Raises BadSubtitles if it is too long.
    """
    if len(data) > MAX_BYTES:
        raise BadSubtitles(f"These subtitles have {len(data)} bytes; {MAX_BYTES} are read at most.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def find_sidecar(path: Path) -> Path | None:
    """The file of subtitles that lies beside a video under the same name, with or without a language; or none."""
    names = {path.stem + suffix for suffix in _SUFFIXES}
    found = sorted(
        path.parent.glob(f"{_glob_escape(path.stem)}*"), key=lambda each: (each.name not in names, each.name)
    )
    fitting = (
        each for each in found if each.suffix in _SUFFIXES and each.stem.partition(path.stem)[2][:1] in ("", ".")
    )
    return next((each for each in fitting if each.is_file() and not each.is_symlink()), None)


def _select_stream(container: InputContainer, stream: SubtitleStream) -> None:
    for other in container.streams:
        other.discard = Discard.default if other.index == stream.index else Discard.all


def _cues(container: InputContainer, stream: SubtitleStream, offset: float) -> Iterator[Cue]:
    """What comes out of a track, as it comes; a line that cannot be read is passed over."""
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        tick = packet.time_base or Fraction(1, 1000)
        start, length = float(packet.pts * tick) - offset, float((packet.duration or 0) * tick)
        try:
            said = [
                each.dialogue.decode("utf-8", "replace") for each in packet.decode() if isinstance(each, AssSubtitle)
            ]
        except (FFmpegError, ValueError):
            continue
        for text in said:
            if not _DRAWING.search(text):
                yield Cue(start, start + length if length > 0 else math.inf, text)


def _tidy(cues: Iterable[Cue], duration: float) -> tuple[Cue, ...]:
    """In order of time, within the video, each once, as plain text; at most so many."""
    seen: dict[Cue, None] = {}
    for cue in cues:
        text = " ".join(_STYLE.sub("", cue.text).split())[:MAX_CHARACTERS]
        end = min(cue.end, duration, cue.start + _LONGEST_SECONDS if math.isinf(cue.end) else cue.end)
        if text and cue.start < duration and end > 0 and end > cue.start:
            seen[Cue(max(cue.start, 0.0), end, text)] = None
        if len(seen) >= MAX_CUES:
            break
    return tuple(sorted(seen))


def _glob_escape(name: str) -> str:
    """A name as a pattern that matches it alone."""
    return re.sub(r"([*?[])", r"[\1]", name)
