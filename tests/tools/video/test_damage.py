"""Videos that are cut, flipped or changed: readable frames are returned, the rest is reported."""

from __future__ import annotations

import random
import shutil
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.videos import VideoScript, number, steady
from tools.video.cache import FrameCache
from tools.video.limits import BadVideo, VideoLimits
from tools.video.sampling import SampleWindow, grid, uniform
from tools.video.video import Video

VIDEO = VideoScript(".mp4", times=steady(100), muxer={"movflags": "faststart"})
LONG = VideoScript(".mp4", times=steady(250), muxer={"movflags": "faststart"})


@pytest.fixture(scope="module")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return VIDEO.shoot(tmp_path_factory.mktemp("films"))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_video_cut_in_half_yields_its_first_half_and_says_so(tmp_path: Path, suffix: str) -> None:
    muxer = {"movflags": "faststart"} if suffix == ".mp4" else {}
    path = VideoScript(suffix, times=steady(250, 1), tick=Fraction(1, 25), muxer=muxer).shoot(tmp_path)
    whole = Video.open(path)
    assert whole.get_frames(grid(whole.span, 20), 160).degraded == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = Video.open(path)
    assert video.metadata.duration == pytest.approx(10.0, abs=0.1)
    moments = grid(video.span, 20)
    look = video.get_frames(moments, 160)
    assert 5 <= len(look.frames) <= 15
    assert "breaks off after" in look.degraded[0]
    for moment, frame in zip(moments, look.frames, strict=False):
        assert number(frame.image) == round(moment.time * 25 - 1e-6)
    with pytest.raises(BadVideo, match="breaks off"):
        video.get_frames([SampleWindow.at(9.5)], 160)


def test_sound_longer_than_the_pictures_is_no_damage(tmp_path: Path) -> None:
    for suffix in (".mkv", ".mp4"):
        video = Video.open(VideoScript(suffix, sound_seconds=6.0).shoot(tmp_path))
        assert video.metadata.audio_streams == 1
        look = video.get_frames([SampleWindow.at(5.0)], 160)
        assert look.degraded == ()
        assert number(look.frames[0].image) == 59


def test_flipped_bits_never_crash_and_never_shorten_in_silence(video_path: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    data = video_path.read_bytes()
    opened = told = 0
    for trial in range(60):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 5, 40])):
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        path = tmp_path / f"{trial}.mp4"
        path.write_bytes(broken)
        try:
            video = Video.open(path)
            moments = uniform(video.span, 12)
            look = video.get_frames(moments, 96)
        except BadVideo as error:
            assert str(error).endswith(".")
            continue
        opened += 1
        told += bool(look.degraded)
        assert len(look.frames) == len(moments) or look.degraded
    assert opened > 10
    assert told > 5


def test_a_damaged_group_is_told_and_the_others_are_whole(tmp_path: Path) -> None:
    path = LONG.shoot(tmp_path)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.is_keyframe) for p in container.demux(video=0) if p.size]
    keys = [index for index, (_, _, key) in enumerate(packets) if key]
    data = bytearray(path.read_bytes())
    first, end = keys[len(keys) // 2], keys[len(keys) // 2 + 1]
    for position, size, _ in packets[first:end]:
        assert position is not None
        data[position + 5 : position + size] = b"\x00" * (size - 5)
    path.write_bytes(data)
    cache = FrameCache(10**8)
    video = Video.open(path, cache=cache)
    moments = [SampleWindow.at(i / 25) for i in range(250)]
    look = video.get_frames(moments, 160)
    assert look.degraded
    good = [number(frame.image) == round(frame.time * 25) for frame in look.frames]
    assert sum(good) >= 250 - 2 * (end - first)
    assert video.get_frames(moments, 160).degraded == look.degraded


def test_work_is_bounded(tmp_path: Path) -> None:
    path = VideoScript(".mp4", times=steady(250), options={"x264-params": "keyint=infinite:scenecut=0"}).shoot(tmp_path)
    video = Video.open(path, limits=VideoLimits(max_decoded_pixels=160 * 120 * 100))
    look = video.get_frames(uniform(video.span, 10), 160)
    assert 1 <= len(look.frames) < 10
    assert "max_work" in look.degraded[0]


def test_a_file_that_changed_is_noticed(video_path: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(video_path, tmp_path / "film.mp4"))
    video = Video.open(path)
    path.write_bytes(b"something else")
    with pytest.raises(BadVideo, match="changed"):
        video.get_frames([SampleWindow.at(1.0)], 160)


def test_a_damaged_picture_is_told_every_time(tmp_path: Path) -> None:
    path = LONG.shoot(tmp_path)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size and not p.is_keyframe]
    data = bytearray(path.read_bytes())
    for position, size in packets[5::20]:
        assert position is not None
        data[position + size // 2 : position + size] = b"\xaa" * (size - size // 2)
    path.write_bytes(data)
    video = Video.open(path, cache=FrameCache(10**8))
    moments = [SampleWindow.at(i / 25) for i in range(250)]
    first, again = video.get_frames(moments, 160), video.get_frames(moments, 160)
    assert any("pictures are damaged" in sentence for sentence in first.degraded)
    assert again.degraded == first.degraded


def test_a_broadcast_joined_half_way_starts_at_its_first_key_picture(tmp_path: Path) -> None:
    path = VideoScript(".ts", times=steady(100)).shoot(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 188 // 3 * 188 :])
    video = Video.open(path)
    frames = video.get_frames([SampleWindow.at(i * 0.04) for i in range(video.metadata.frame_count or 0)], 160).frames
    first = number(frames[0].image)
    assert 12 < first < 60
    assert [number(frame.image) for frame in frames] == list(range(first, 100))


def test_a_stream_that_appears_at_the_end_is_no_harm(tmp_path: Path) -> None:
    """One flipped bit gives the last picture another stream number, over which PyAV's demuxer trips."""
    path = VideoScript(".ts").shoot(tmp_path)
    data = bytearray(path.read_bytes())
    last = max(i for i in range(0, len(data), 188) if data[i : i + 3] == b"\x47\x41\x00")
    data[last + 2] = 0x40
    path.write_bytes(data)
    video = Video.open(path)
    assert video.metadata.frame_count == 59
    numbers = {number(frame.image) for frame in video.get_frames(grid(video.span, 20), 160).frames}
    assert len(numbers) == 20
