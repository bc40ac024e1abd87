"""Subtitles: in the video, beside it, given; good ones, odd ones, broken ones; in this process and confined."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.videos import VideoScript
from tools.sandbox.client import Sandbox
from tools.video import subtitles
from tools.video.decoders import Decoder, InProcessDecoder
from tools.video.subtitles import (
    MAX_BYTES,
    MAX_CHARACTERS,
    MAX_CUES,
    BadSubtitles,
    Cue,
    decode_text,
    find_sidecar,
    parse_subtitles,
)
from tools.video.video import Video

SRT = """\ufeff1\r
00:00:00,500 --> 00:00:01,000\r
<i>Good</i> {\\an8}morning,\r
all of you.\r
\r
2\r
00:00:01,200 --> 00:00:01,900\r
Platform 47!\r
"""
MORNING = Cue(0.5, 1.0, "Good morning, all of you.")
PLATFORM = Cue(1.2, 1.9, "Platform 47!")
VTT = """WEBVTT - a title

NOTE nobody reads this

STYLE
::cue { color: red }

intro
00:00.500 --> 00:01.000 align:start position:10%
<v Ann>Tea &amp; <c.loud>cake</c>?

00:00:01.200 --> 00:00:01.900
Platform 47!
"""
ASS = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.50,0:00:01.00,Default,,0,0,0,,{\\b1}Good{\\b0}\\Nmorning, all
Dialogue: 0,0:00:01.20,0:00:01.90,Default,,0,0,0,,{\\p1}m 0 0 l 100 0{\\p0}
"""


@pytest.fixture(scope="module", params=["in process", "confined"])
def decoder(request: pytest.FixtureRequest) -> Iterator[Decoder]:
    if request.param == "in process":
        yield InProcessDecoder()
        return
    sandbox = Sandbox(workers=1)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds and a half without a word."""
    return VideoScript(".mp4").shoot(tmp_path_factory.mktemp("silent"))


def with_track(silent: Path, folder: Path, suffix: str, text: str, kind: str = "srt", delay: float = 0.0) -> Path:
    """The video with a text track in it; `delay` seconds are before the first picture."""
    words, video = folder / f"words.{kind}", folder / f"speaking{suffix}"
    words.write_text(text)
    with av.open(str(silent)) as picture, av.open(str(words)) as track, av.open(str(video), "w") as out:
        shown = out.add_stream_from_template(picture.streams.video[0])
        said = out.add_stream_from_template(track.streams.subtitles[0])
        for source, target in ((picture, shown), (track, said)):
            for packet in source.demux():
                if packet.pts is not None and packet.time_base:
                    late = int(Fraction(delay) / packet.time_base)
                    packet.dts = (packet.pts if packet.dts is None else packet.dts) + late
                    packet.pts += late
                    packet.stream = target
                    out.mux(packet)
    return video


def with_timed_text(silent: Path, video_path: Path, text: str) -> Path:
    """The video with MP4's own kind of text in it, from 0.5 to 1 s."""
    with av.open(str(silent)) as picture, av.open(str(video_path), "w") as out:
        shown, said = out.add_stream_from_template(picture.streams.video[0]), out.add_stream("mov_text")
        said.codec_context.subtitle_header = ASS.partition("Dialogue:")[0].encode()
        for packet in picture.demux():
            if packet.pts is not None:
                packet.stream = shown
                out.mux(packet)
        words = av.Packet(len(text).to_bytes(2, "big") + text.encode())
        words.pts = words.dts = 500
        words.duration, words.time_base, words.stream = 500, Fraction(1, 1000), said
        out.mux(words)
    return video_path


def test_a_track_in_the_video_is_read(decoder: Decoder, silent: Path, tmp_path: Path) -> None:
    video = with_track(silent, tmp_path, ".mkv", SRT)
    assert Video.open(video, decoder=decoder).subtitles() == (MORNING, PLATFORM)


def test_tracks_of_other_kinds_are_read(decoder: Decoder, silent: Path, tmp_path: Path) -> None:
    styled = with_track(silent, tmp_path, "-ass.mkv", ASS, kind="ass")
    assert Video.open(styled, decoder=decoder).subtitles() == (Cue(0.5, 1.0, "Good morning, all"),)
    web = with_track(silent, tmp_path, "-web.mkv", VTT, kind="vtt")
    assert Video.open(web, decoder=decoder).subtitles()[1] == PLATFORM
    timed = with_timed_text(silent, tmp_path / "timed.mp4", "Good morning")
    assert Video.open(timed, decoder=decoder).subtitles() == (Cue(0.5, 1.0, "Good morning"),)


def test_seconds_count_from_the_first_picture(silent: Path, tmp_path: Path) -> None:
    video = with_track(silent, tmp_path, ".mkv", SRT, delay=3.0)
    assert [round(cue.start, 3) for cue in Video.open(video).subtitles()] == [0.5, 1.2]


def test_a_video_may_be_silent(decoder: Decoder, silent: Path) -> None:
    assert Video.open(silent, decoder=decoder).subtitles() == ()


def test_what_is_given_goes_before_what_lies_beside_and_that_before_what_is_inside(
    decoder: Decoder, silent: Path, tmp_path: Path
) -> None:
    video = Video.open(with_track(silent, tmp_path, ".mkv", SRT), decoder=decoder)
    (tmp_path / "speaking.en.srt").write_text(SRT.replace("Platform", "Track"))
    assert video.subtitles()[1].text == "Track 47!"
    assert video.subtitles(VTT)[0].text == "Ann: Tea & cake?"


def test_a_broken_file_beside_a_video_is_passed_over(
    silent: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video = with_track(silent, tmp_path, ".mkv", SRT)
    (tmp_path / "speaking.srt").write_text("not subtitles")
    assert Video.open(video).subtitles() == (MORNING, PLATFORM)
    assert "passed over" in caplog.text


@pytest.mark.parametrize(
    "data",
    [
        SRT.encode(),
        SRT.encode("utf-16"),
        SRT.replace(",500", ".500").encode(),
        SRT.replace("\r\n", "\r").encode(),
        b"\n\n" + SRT.lstrip("\ufeff").encode(),
    ],
    ids=["plain", "utf-16", "points", "old mac", "blank lines first"],
)
def test_srt_is_read_in_its_many_forms(data: bytes) -> None:
    assert parse_subtitles(decode_text(data), 10.0)[:2] == (MORNING, PLATFORM)


def test_srt_without_thousandths_is_read() -> None:
    assert parse_subtitles("1\n00:00:01 --> 00:00:02\nfoo\n\n2\n00:00:03 --> 00:00:04\nbar\n", 10.0) == (
        Cue(1.0, 2.0, "foo"),
        Cue(3.0, 4.0, "bar"),
    )


def test_webvtt_is_read_without_its_ornaments() -> None:
    assert parse_subtitles(VTT, 10.0) == (Cue(0.5, 1.0, "Ann: Tea & cake?"), PLATFORM)


def test_old_encodings_are_read() -> None:
    assert (
        parse_subtitles(decode_text("1\n00:00:01,000 --> 00:00:02,000\ncafé\n".encode("cp1252")), 10.0)[0].text
        == "café"
    )


def test_lines_end_with_the_video_and_those_after_it_are_left_out() -> None:
    assert parse_subtitles(SRT, 1.5) == (MORNING, Cue(1.2, 1.5, "Platform 47!"))
    assert parse_subtitles(SRT, 1.1) == (MORNING,)


def test_the_same_line_is_kept_once() -> None:
    assert len(parse_subtitles((SRT + "\n" + SRT.lstrip("\ufeff")), 10.0)) == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"nothing", b"\x00\x01\x02-->", b"WEBVTT\n\n", b"1\n-->\nx", b"\xff\xfe" + b"\x00" * 9, b"RIFF----AVI -->"],
)
def test_what_is_no_subtitles_is_refused_in_plain_words(data: bytes) -> None:
    with pytest.raises(BadSubtitles):
        parse_subtitles(decode_text(data), 10.0)


def test_subtitles_have_so_many_bytes_lines_and_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSubtitles, match=str(MAX_BYTES)):
        decode_text(b" " * (MAX_BYTES + 1))
    long = "x" * (MAX_CHARACTERS + 1)
    assert len(parse_subtitles(f"1\n00:00:01,000 --> 00:00:02,000\n{long}\n", 10.0)[0].text) == MAX_CHARACTERS
    monkeypatch.setattr(subtitles, "MAX_CUES", 1)
    assert len(parse_subtitles(SRT, 10.0)) == 1
    assert MAX_CUES > 1000


@pytest.mark.parametrize("damage", range(8))
def test_damaged_subtitles_never_crash(damage: int) -> None:
    data = bytearray(SRT.encode() * 3)
    for place in range(damage, len(data), 17 + damage):
        data[place] = (data[place] * 7 + damage) % 256
    with contextlib.suppress(BadSubtitles):
        assert all(0 <= cue.start < cue.end <= 10 for cue in parse_subtitles(decode_text(bytes(data)), 10.0))


def test_the_file_beside_a_video_has_its_name(tmp_path: Path) -> None:
    video = tmp_path / "a[1].mp4"
    for name in ("a[1]2.srt", "a1.srt", "a[1].txt", "b.srt"):
        (tmp_path / name).touch()
    assert find_sidecar(video) is None
    (tmp_path / "a[1].de.vtt").touch()
    assert find_sidecar(video) == tmp_path / "a[1].de.vtt"
    (tmp_path / "a[1].srt").touch()
    assert find_sidecar(video) == tmp_path / "a[1].srt"


def test_a_link_beside_a_video_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere.txt"
    secret.write_text(SRT)
    (tmp_path / "film.srt").symlink_to(secret)
    assert find_sidecar(tmp_path / "film.mp4") is None
