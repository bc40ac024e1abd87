"""Files that are no videos and videos beyond the limits are refused in plain words."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.videos import VideoScript, record, steady
from tools.video.limits import BadVideo, VideoLimits
from tools.video.video import Video

VIDEO = VideoScript(".mp4", times=steady(100), muxer={"movflags": "faststart"})


@pytest.fixture(scope="module")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return VIDEO.shoot(tmp_path_factory.mktemp("films"))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def prose(path: Path) -> None:
    path.write_text("Call me Ishmael. " * 500)


def noise(path: Path) -> None:
    path.write_bytes(random.Random(2).randbytes(200_000))


def photograph(path: Path) -> None:
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))


def sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        record(container, 1.0)


def wave(path: Path) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))


def indexless(path: Path) -> None:
    VideoScript(".mp4").shoot(path.parent, "whole")
    data = (path.parent / "whole.mp4").read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])


def headless(path: Path) -> None:
    VideoScript(".mkv").shoot(path.parent, "whole")
    path.write_bytes((path.parent / "whole.mkv").read_bytes()[:60])


def concat_script(path: Path) -> None:
    VIDEO.shoot(path.parent, "secret")
    path.write_text(f"ffconcat version 1.0\nfile '{path.parent / 'secret.mp4'}'\n")


def playlist(path: Path) -> None:
    VideoScript(".ts").shoot(path.parent, "secret")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{path.parent / 'secret.ts'}\n#EXT-X-ENDLIST\n")


def without_pictures(path: Path) -> None:
    VIDEO.shoot(path.parent, "whole")
    data = bytearray((path.parent / "whole.mp4").read_bytes())
    start = data.rindex(b"mdat") + 4
    data[start:] = random.Random(4).randbytes(len(data) - start)
    path.write_bytes(data)


def resized(path: Path, width: bytes, height: bytes) -> None:
    """A VP8 video whose pictures claim another size (14 bits each, after a start code) in every key picture."""
    script = VideoScript(".mkv", "libvpx", times=steady(3), options={"deadline": "realtime", "cpu-used": "8"})
    data = script.shoot(path.parent, "whole").read_bytes()
    assert b"\x9d\x01\x2a\xa0\x00\x78\x00" in data
    path.write_bytes(data.replace(b"\x9d\x01\x2a\xa0\x00\x78\x00", b"\x9d\x01\x2a" + width + height))


def no_size(path: Path) -> None:
    resized(path, b"\x00\x00", b"\x00\x00")


def huge_pictures(path: Path) -> None:
    resized(path, b"\xff\x3f", b"\xff\x3f")


def huge_header(path: Path) -> None:
    """Raw pictures have no size but the header's: 20000 x 10000 in this AVI."""
    script = VideoScript(".avi", "rawvideo", steady(3, 1), Fraction(1, 25), options={})
    data = script.shoot(path.parent, "whole").read_bytes()
    size = struct.pack("<II", 160, 120)
    assert size in data
    path.write_bytes(data.replace(size, struct.pack("<II", 20000, 10000)))


NOT_VIDEOS: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (empty, "empty"),
    "text": (prose, "not a video file"),
    "noise": (noise, "not a video file|no video stream|no pictures"),
    "a photograph": (photograph, "not a video file"),
    "sound in mp4": (sound, "no video stream; it is audio only"),
    "sound in wav": (wave, "not a video file"),
    "mp4 cut before its index": (indexless, "cut off or damaged: its index"),
    "mkv cut in its header": (headless, "cut off or damaged|no video stream|no pictures"),
    "concat script": (concat_script, "not a video file"),
    "hls playlist": (playlist, "not a video file"),
    "noise for pictures": (without_pictures, "None of the pictures"),
    "no size": (no_size, "no size|None of the pictures"),
    "huge pictures": (huge_pictures, "None of the pictures|max_pixels"),
    "huge header": (huge_header, "max_pixels"),
}


@pytest.mark.parametrize("name", NOT_VIDEOS)
def test_what_is_not_a_video_is_refused_in_plain_words(tmp_path: Path, name: str) -> None:
    make, words = NOT_VIDEOS[name]
    path = tmp_path / "sent.mp4"
    make(path)
    with pytest.raises(BadVideo, match=words):
        Video.open(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadVideo, match="no file"):
        Video.open(tmp_path / "nothing.mp4")
    with pytest.raises(BadVideo, match="not a file"):
        Video.open(tmp_path)


def test_a_path_is_never_a_protocol(video_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadVideo, match="no file"):
        Video.open(f"concat:{video_path}")
    with pytest.raises(BadVideo, match="no file"):
        Video.open("http://127.0.0.1:9/film.mp4")


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (VideoLimits(max_bytes=1000), "max_bytes"),
        (VideoLimits(max_seconds=3.9), "max_seconds"),
        (VideoLimits(max_pixels=160 * 120 - 1), "max_pixels"),
        (VideoLimits(max_frames=99), "max_frames"),
    ],
)
def test_a_limit_is_named(video_path: Path, limits: VideoLimits, named: str) -> None:
    with pytest.raises(BadVideo, match=named):
        Video.open(video_path, limits=limits)


def test_limits_just_met_are_kept(video_path: Path) -> None:
    limits = VideoLimits(video_path.stat().st_size, 4.0, 160 * 120, 100)
    assert Video.open(video_path, limits=limits).metadata.frame_count == 100
