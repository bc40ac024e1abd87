"""Every kind of video: the picture showing at a second is the one we get, by number and by time."""

from __future__ import annotations

import random
from bisect import bisect_right
from pathlib import Path

import av
import numpy as np
import pytest

from tests.videos import DECORD_READS, SCRIPTS, VideoScript, number
from tools.video.limits import BadVideo, VideoLimits
from tools.video.sampling import SampleWindow, cheapest, grid, uniform
from tools.video.video import Video


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


def encoded(folder: Path, name: str) -> Path:
    made = next(folder.glob(f"{name}.*"), None)
    return made or SCRIPTS[name].shoot(folder, name)


def wishes(script: VideoScript) -> list[tuple[float, int]]:
    """Seconds in a random order and the number of the picture showing then: each picture, gaps, both ends."""
    times = script.seconds()
    rng = random.Random(5)
    # Containers round to their own tick (1 ms at worst), so keep that far from a change of picture.
    inside = [(t + 0.003, i) for i, t in enumerate(times)]
    between = [
        (t, bisect_right(times, t) - 1)
        for t in (rng.uniform(0, times[-1]) for _ in range(40))
        if all(abs(t - other) > 0.002 for other in times)
    ]
    both = [(-1.0, 0), (0.0, 0), (times[-1] + 100, len(times) - 1)]
    wanted = inside + between + both
    rng.shuffle(wanted)
    return wanted


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_picture_showing_at_a_second(folder: Path, name: str) -> None:
    script = SCRIPTS[name]
    video = Video.open(encoded(folder, name))
    wanted = wishes(script)
    look = video.get_frames([SampleWindow.at(time) for time, _ in wanted], 160)
    assert look.degraded == ()
    assert [number(frame.image) for frame in look.frames] == [index for _, index in wanted]
    times = script.seconds()
    assert [f.time for f in look.frames] == pytest.approx([times[i] for _, i in wanted], abs=0.0011)
    assert video.metadata.frame_count == len(times)
    assert times[-1] < video.metadata.duration <= times[-1] + 0.5


@pytest.mark.parametrize("name", SCRIPTS)
def test_one_second_at_a_time_gives_the_same(folder: Path, name: str) -> None:
    video = Video.open(encoded(folder, name))
    for time, index in wishes(SCRIPTS[name])[:8]:
        look = video.get_frames([SampleWindow.at(time)], 160)
        assert [number(frame.image) for frame in look.frames] == [index]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_window_is_kept_to(folder: Path, name: str) -> None:
    video = Video.open(encoded(folder, name))
    truth = SCRIPTS[name].seconds()
    for moments in (uniform(video.span, 5), cheapest(video.span, 5)):
        look = video.get_frames(moments, 160)
        for moment, frame in zip(moments, look.frames, strict=True):
            inside = any(moment.early <= t <= moment.late for t in truth)
            showing = truth[max(0, bisect_right(truth, moment.time) - 1)]
            assert (
                moment.early - 0.0011 <= frame.time <= moment.late + 0.0011
                if inside
                else (frame.time == pytest.approx(showing, abs=0.0011))
            )
            assert truth[number(frame.image)] == pytest.approx(frame.time, abs=0.0011)


def test_scouting_takes_key_pictures(folder: Path) -> None:
    path = encoded(folder, "h264 with B-pictures")
    with av.open(str(path)) as container:
        keys = {p.pts for p in container.demux(video=0) if p.is_keyframe}
        tick = container.streams.video[0].time_base
    assert tick is not None
    video = Video.open(path)
    taken = {round(frame.time / tick) for frame in video.get_frames(cheapest(video.span, 4), 160).frames}
    assert len(taken) == 4
    assert taken <= keys


@pytest.mark.parametrize("name", DECORD_READS)
def test_decord_returns_the_same_frames(folder: Path, name: str) -> None:
    moments = [SampleWindow.at(time) for time, _ in wishes(SCRIPTS[name])]
    ours = Video.open(encoded(folder, name)).get_frames(moments, 96)
    theirs = Video.open(encoded(folder, name), decoder="decord").get_frames(moments, 96)
    assert [f.time for f in ours.frames] == [f.time for f in theirs.frames]
    for one, other in zip(ours.frames, theirs.frames, strict=True):
        assert one.image.shape == other.image.shape
        assert np.abs(one.image.astype(int) - other.image).mean() < 5


@pytest.mark.parametrize(
    "name",
    ["av1", "mkv without length", "mpeg-ts", "avi h264", "fragmented mp4", "h264 open groups", "hevc open groups"],
)
def test_decord_refuses_what_it_cannot_read(folder: Path, name: str) -> None:
    with pytest.raises(BadVideo, match="decord"):
        Video.open(encoded(folder, name), decoder="decord")


def test_a_grid_doubled_keeps_its_frames(folder: Path) -> None:
    video = Video.open(encoded(folder, "variable rate mp4"))
    few = video.get_frames(grid(video.span, 8), 64).frames
    many = video.get_frames(grid(video.span, 16), 64).frames
    assert [f.time for f in few] == [f.time for f in many[::2]]


@pytest.mark.parametrize("name", ["h264 with B-pictures", "h264 open groups", "hevc open groups", "mpeg-ts"])
def test_nothing_is_decoded_twice(folder: Path, name: str) -> None:
    """All pictures together cost one pass, and a little more where a group reaches into the next."""
    budget = VideoLimits(max_decoded_pixels=160 * 128 * 60 * (3 if "open" in name else 2) // 2)
    video = Video.open(encoded(folder, name), limits=budget)
    look = video.get_frames([SampleWindow.at(time) for time in SCRIPTS[name].seconds()], 160)
    assert look.degraded == ()
    assert len(look.frames) == 60
