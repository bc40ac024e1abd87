"""A video tells what it is, stands upright, shares a cache, crosses threads and processes."""

from __future__ import annotations

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.videos import VideoScript, number, steady
from tools.video import decoders
from tools.video.cache import FrameCache
from tools.video.frame import Frame
from tools.video.limits import BadVideo
from tools.video.sampling import SampleWindow, Span, grid, uniform
from tools.video.video import Video


@pytest.fixture(scope="module")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return VideoScript(".mp4", times=steady(100), sound_seconds=2.0).shoot(tmp_path_factory.mktemp("films"))


def test_the_facts(video_path: Path) -> None:
    video = Video.open(video_path)
    info = video.metadata
    assert (info.codec, info.width, info.height, info.rotation) == ("h264", 160, 120, 0)
    assert [info.duration, info.average_fps, info.real_fps] == pytest.approx([4.0, 25.0, 25.0])
    assert info.frame_count == 100
    assert (info.audio_streams, info.subtitle_streams, info.bytes) == (1, 0, video_path.stat().st_size)
    assert "mp4" in info.container
    assert video.id == hashlib.sha256(video_path.read_bytes()).hexdigest()
    assert video.span == Span(0.0, info.duration)


def test_a_variable_rate_is_told(tmp_path: Path) -> None:
    times = [0, 40, 80, 1080, 1120, 3120]
    info = Video.open(VideoScript(".mkv", times=times).shoot(tmp_path)).metadata
    assert info.average_fps < 3
    assert info.duration > 3.12


@pytest.mark.parametrize("decoder", decoders.DECODERS)
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_video_stands_upright(tmp_path: Path, degrees: int, decoder: str) -> None:
    upright = (
        Video.open(VideoScript(".mp4").shoot(tmp_path, "upright")).get_frames([SampleWindow.at(1.0)], 160).frames[0]
    )
    video = Video.open(VideoScript(".mp4", rotation=degrees).shoot(tmp_path, "turned"), decoder=decoder)
    frame = video.get_frames([SampleWindow.at(1.0)], 160).frames[0]
    turned = np.rot90(upright.image, degrees // 90)
    assert video.metadata.rotation == degrees
    assert (video.metadata.height, video.metadata.width) == frame.image.shape[:2] == turned.shape[:2]
    assert np.abs(frame.image.astype(int) - turned).mean() < 3


@pytest.mark.parametrize("decoder", decoders.DECODERS)
def test_pixels_that_are_not_square_are_made_square(tmp_path: Path, decoder: str) -> None:
    for aspect, size in ((Fraction(4, 3), (160, 90)), (Fraction(3, 4), (120, 120))):
        video = Video.open(VideoScript(".mp4", aspect=aspect).shoot(tmp_path), decoder=decoder)
        frame = video.get_frames([SampleWindow.at(1.0)], 500).frames[0]
        assert (video.metadata.width, video.metadata.height) == (frame.width, frame.height) == size
        assert number(frame.image) == 25


def test_frames_fit_the_side_and_are_never_enlarged(video_path: Path) -> None:
    video = Video.open(video_path)
    sizes = [video.get_frames([SampleWindow.at(0)], side).frames[0].image.shape for side in (1, 80, 160, 1000)]
    assert sizes == [(1, 1, 3), (60, 80, 3), (120, 160, 3), (120, 160, 3)]
    with pytest.raises(ValueError, match="side"):
        video.get_frames([SampleWindow.at(0)], 0)


def test_no_moments_are_no_frames(video_path: Path) -> None:
    look = Video.open(video_path).get_frames([], 160)
    assert (look.frames, look.degraded) == ((), ())


def test_two_looks_decode_once(video_path: Path) -> None:
    cache = FrameCache(10**7)
    video = Video.open(video_path, cache=cache)
    first = video.get_frames(grid(video.span, 8), 80).frames
    again = Video.open(video_path, cache=cache).get_frames(grid(video.span, 16), 80).frames
    assert all(one is other for one, other in zip(first, again[::2], strict=True))
    assert (cache.hits, cache.misses, len(cache)) == (8, 16, 16)
    video.get_frames(grid(video.span, 8), 40)
    assert len(cache) == 24


def test_two_videos_never_share_frames(video_path: Path, tmp_path: Path) -> None:
    cache = FrameCache(10**7)
    other = VideoScript(".mp4", times=steady(100), options={"g": "50"}, rotation=180).shoot(tmp_path)
    one = Video.open(video_path, cache=cache).get_frames([SampleWindow.at(1.0)], 80).frames[0]
    two = Video.open(other, cache=cache).get_frames([SampleWindow.at(1.0)], 80).frames[0]
    assert not np.array_equal(one.image, two.image)


def test_many_threads_look_at_once(video_path: Path) -> None:
    video = Video.open(video_path, cache=FrameCache(100_000))

    def look(shift: int) -> list[int]:
        frames = video.get_frames([SampleWindow.at((i * 7 + shift) % 100 / 25) for i in range(20)], 160).frames
        return [number(frame.image) for frame in frames]

    with ThreadPoolExecutor(8) as pool:
        for shift, numbers in enumerate(pool.map(look, range(32))):
            assert numbers == [(i * 7 + shift) % 100 for i in range(20)]


def test_a_video_and_its_look_survive_pickling(video_path: Path) -> None:
    video = Video.open(video_path, cache=FrameCache(10**6))
    back = pickle.loads(pickle.dumps(video))
    one, other = video.get_frames(uniform(video.span, 5), 80), back.get_frames(uniform(back.span, 5), 80)
    assert (back.id, back.metadata) == (video.id, video.metadata)
    frames: tuple[Frame, ...] = pickle.loads(pickle.dumps(other)).frames
    assert [f.time for f in frames] == [f.time for f in one.frames]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, one.frames, strict=True))


def test_an_unknown_decoder_is_the_callers_mistake(video_path: Path) -> None:
    with pytest.raises(ValueError, match="there are pyav, decord"):
        Video.open(video_path, decoder="quicktime")


def test_decord_names_itself_when_it_cannot(tmp_path: Path) -> None:
    path = VideoScript(".mp4", "libsvtav1", options={"preset": "10"}, times=steady(10)).shoot(tmp_path)
    assert Video.open(path).metadata.codec == "av1"
    with pytest.raises(BadVideo, match=r"decord cannot read this video \(codec av1\)"):
        Video.open(path, decoder="decord")
