"""Confined processes decode as this one does, whatever the video; and a hostile one costs a worker, nothing else."""

from __future__ import annotations

import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.sandbox import attacks
from tests.tools.video.test_probe import NOT_VIDEOS
from tests.videos import DECORD_READS, SCRIPTS, VideoScript, steady
from tools.sandbox.client import Quarantine, Sandbox
from tools.video import still_images
from tools.video.cache import FrameCache
from tools.video.decoders import InProcessDecoder
from tools.video.image_sequence import ImageSequence
from tools.video.limits import BadVideo, DecodingStopped, VideoLimits
from tools.video.sampling import SampleWindow, grid
from tools.video.source import FrameBatch
from tools.video.video import Video

LENIENT = Quarantine(failures=1_000_000)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with_many = Sandbox(quarantine=LENIENT)
    yield with_many
    with_many.close()


@pytest.fixture(scope="module")
def video_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return VideoScript(".mp4", times=steady(100)).shoot(tmp_path_factory.mktemp("films"))


def commit(sandbox: Sandbox, attack: attacks.Attack, video_path: Path, seconds: float = 10.0) -> str:
    """Have a worker run an attack."""
    return sandbox.run(attack, video_path, video_path.name, seconds)


def generations(of: int) -> list[set[int]]:
    """Ids of the children of a process, of their children, and so on."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [{of}]
    while found[-1]:
        found.append({child for child, parent in parents.items() if parent in found[-1]})
    return found[1:-1]


def servers() -> set[int]:
    """Processes that make workers for this one."""
    return set().union(*generations(os.getpid())[:1])


def workers() -> set[int]:
    """Processes that decode for this one."""
    return set().union(*generations(os.getpid())[1:])


def same(one: FrameBatch, other: FrameBatch) -> bool:
    """Whether two looks show the same and say the same."""
    return one.degraded == other.degraded and all(
        a.time == b.time and np.array_equal(a.image, b.image) for a, b in zip(one.frames, other.frames, strict=True)
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_kind_of_video_looks_the_same(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    path = SCRIPTS[name].shoot(tmp_path)
    here, there = Video.open(path), Video.open(path, decoder=sandbox)
    assert (here.id, here.metadata, here.probed.orientation, here.probed.stamp) == (
        there.id,
        there.metadata,
        there.probed.orientation,
        there.probed.stamp,
    )
    assert here.probed.timeline.restamped == there.probed.timeline.restamped
    moments = grid(here.span, 20)
    assert same(here.get_frames(moments, 96), there.get_frames(moments, 96))


@pytest.mark.parametrize("name", NOT_VIDEOS)
def test_what_is_no_video_is_refused_in_the_same_words(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    path = tmp_path / "sent.mp4"
    NOT_VIDEOS[name][0](path)
    with pytest.raises(BadVideo) as here:
        Video.open(path)
    with pytest.raises(BadVideo) as there:
        Video.open(path, decoder=sandbox)
    assert str(here.value) == str(there.value)


def test_decord_too(tmp_path: Path) -> None:
    sandbox = Sandbox("decord")
    try:
        assert sandbox.report.open == ()
        for name in DECORD_READS[:4]:
            path = SCRIPTS[name].shoot(tmp_path, name)
            here, there = Video.open(path, decoder="decord"), Video.open(path, decoder=sandbox)
            assert same(here.get_frames(grid(here.span, 8), 96), there.get_frames(grid(here.span, 8), 96))
        for attack in (attacks.Phone(), attacks.Peek(), attacks.Scribble(), attacks.Start()):
            with pytest.raises(BadVideo, match="stumbled"):
                commit(sandbox, attack, path)
    finally:
        sandbox.close()


def test_damage_is_told_and_frames_are_cached(sandbox: Sandbox, video_path: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.mkv"
    VideoScript(".mkv", times=steady(250)).shoot(tmp_path, "half")
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    here, there = Video.open(half), Video.open(half, decoder=sandbox)
    assert there.probed.truncated_at == here.probed.truncated_at is not None
    assert same(here.get_frames(grid(here.span, 20), 96), there.get_frames(grid(here.span, 20), 96))
    cache = FrameCache(10**7)
    video = Video.open(video_path, decoder=sandbox, cache=cache)
    first, again = (video.get_frames(grid(video.span, 8), 80).frames for _ in range(2))
    assert all(one is other for one, other in zip(first, again, strict=True))
    with pytest.raises(ValueError, match="read-only"):
        first[0].image[0, 0, 0] = 1


@pytest.mark.parametrize("kind", still_images.IMAGE_FORMATS)
def test_given_pictures_look_the_same(sandbox: Sandbox, kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (60, 2000, 3), np.uint8)
    pictures = []
    for mode in ("RGB", "L", "CMYK", "L") if kind == "JPEG" else ("RGB", "L", "P", "RGBA"):
        file = io.BytesIO()
        Image.fromarray(noise).convert(mode).save(file, kind)
        pictures.append(file.getvalue())
    here, there = (ImageSequence.open(pictures, decoder=each) for each in (InProcessDecoder(), sandbox))
    for side in (64, 3000):
        assert same(here.get_frames(grid(here.span, 4), side), there.get_frames(grid(here.span, 4), side))


def test_bad_pictures_are_refused_in_the_same_words(sandbox: Sandbox) -> None:
    file = io.BytesIO()
    Image.new("RGB", (60, 60)).save(file, "PNG")
    good = file.getvalue()
    wide = good.replace(struct.pack(">II", 60, 60), struct.pack(">II", 60000, 60000))
    crc = struct.pack(">I", zlib.crc32(wide[12:29]))
    for bad, limits in (
        (b"no picture", VideoLimits()),
        (good[:50], VideoLimits()),
        (wide[:29] + crc + wide[33:], VideoLimits()),
    ):
        said = set()
        for each in (InProcessDecoder(), sandbox):
            with pytest.raises(BadVideo, match="Picture 2") as refusal:
                slides = ImageSequence.open([good, bad], decoder=each, limits=limits)
                slides.get_frames(grid(slides.span, 2), 64)
            said.add(str(refusal.value))
        assert len(said) == 1


def test_limits_are_named(sandbox: Sandbox, video_path: Path) -> None:
    for limits, named in (
        (VideoLimits(max_bytes=1000), "max_bytes"),
        (VideoLimits(max_seconds=3.9), "max_seconds"),
        (VideoLimits(max_pixels=160 * 120 - 1), "max_pixels"),
        (VideoLimits(max_frames=99), "max_frames"),
    ):
        with pytest.raises(BadVideo, match=named):
            Video.open(video_path, decoder=sandbox, limits=limits)


def test_the_fence_holds_and_says_so(sandbox: Sandbox) -> None:
    assert sandbox.report.open == ()
    assert {"rlimits", "seccomp", "landlock"} <= set(sandbox.report.means)


@pytest.mark.parametrize(
    "attack",
    [
        attacks.Phone(),
        attacks.Peek(),
        attacks.Scribble(),
        attacks.Overwrite(),
        attacks.Start(),
        attacks.Shoot(),
        attacks.Execute(),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_a_worker_may_do_nothing_but_decode(sandbox: Sandbox, video_path: Path, attack: attacks.Attack) -> None:
    before = video_path.read_bytes()
    with pytest.raises(BadVideo, match="stumbled"):
        commit(sandbox, attack, video_path)
    assert video_path.read_bytes() == before
    assert not Path("/tmp/secondlook-was-here").exists()
    assert commit(sandbox, attacks.Honest(), video_path) == "done"


@pytest.mark.parametrize(
    ("attack", "seconds", "words"),
    [
        (attacks.Crash(), 10, "made its decoder fail"),
        (attacks.Vanish(), 10, "made its decoder fail"),
        (attacks.Flood(), 10, "made its decoder fail"),
        (attacks.Lie(), 10, "made its decoder fail"),
        (attacks.Spin(), 0.5, "longer than"),
        (attacks.Sleep(), 0.5, "longer than"),
        (attacks.Hog(), 30, "more memory"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_costs_one_worker_and_not_its_neighbour(
    sandbox: Sandbox, video_path: Path, attack: attacks.Attack, seconds: float, words: str
) -> None:
    with ThreadPoolExecutor() as pool:
        video = Video.open(video_path, decoder=sandbox)
        neighbour = pool.submit(video.get_frames, grid(video.span, 50), 160)
        began = time.monotonic()
        with pytest.raises(BadVideo, match=words):
            commit(sandbox, attack, video_path, seconds)
        assert time.monotonic() - began < seconds + 5
        assert len(neighbour.result().frames) == 50
    assert commit(sandbox, attacks.Honest(), video_path) == "done"


def test_what_fails_again_and_again_is_not_tried_any_more(video_path: Path, tmp_path: Path) -> None:
    other = Path(shutil.copy(video_path, tmp_path / "other.mp4"))
    sandbox = Sandbox(quarantine=Quarantine(failures=2, seconds=0.5))
    try:
        for words in ("made its decoder fail and", "made its decoder fail and", "not tried any more"):
            with pytest.raises(BadVideo, match=words):
                commit(sandbox, attacks.Crash(), video_path)
        assert commit(sandbox, attacks.Honest(), other) == "done"
        time.sleep(0.6)
        assert commit(sandbox, attacks.Honest(), video_path) == "done"
    finally:
        sandbox.close()


def test_a_plain_refusal_is_no_failure(tmp_path: Path) -> None:
    sandbox = Sandbox(quarantine=Quarantine(failures=1))
    try:
        path = tmp_path / "notes.mp4"
        path.write_text("Buy milk.")
        for _ in range(3):
            with pytest.raises(BadVideo, match="not a video file"):
                Video.open(path, decoder=sandbox)
    finally:
        sandbox.close()


def test_quarantine_forgets_the_oldest() -> None:
    quarantine = Quarantine(failures=1, kept=2)
    for name in "abc":
        quarantine.add(name)
    quarantine.check("a")
    for name in "bc":
        with pytest.raises(BadVideo):
            quarantine.check(name)


def test_who_stops_waiting_ends_the_worker(sandbox: Sandbox, video_path: Path) -> None:
    commit(sandbox, attacks.Honest(), video_path)
    wait_for(lambda: not workers())
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        asleep = pool.submit(sandbox.run, attacks.Sleep(), video_path, "a film", 60.0, stop)
        wait_for(lambda: len(workers()) == 1)
        began = time.monotonic()
        stop.set()
        with pytest.raises(DecodingStopped):
            asleep.result(5)
        assert time.monotonic() - began < 1
    wait_for(lambda: not workers())
    with pytest.raises(DecodingStopped):
        Video.open(video_path).get_frames([SampleWindow.at(1.0)], 80, stop)


def test_a_full_house_makes_wait_and_can_be_left(video_path: Path) -> None:
    sandbox = Sandbox(workers=1)
    stop, leave = threading.Event(), threading.Event()
    try:
        with ThreadPoolExecutor() as pool:
            asleep = pool.submit(sandbox.run, attacks.Sleep(), video_path, "a film", 60.0, stop)
            wait_for(lambda: len(workers()) == 1)
            waiting = pool.submit(sandbox.run, attacks.Honest(), video_path, "a film", 10.0)
            leaving = pool.submit(sandbox.run, attacks.Honest(), video_path, "a film", 10.0, leave)
            time.sleep(0.2)
            assert not waiting.done()
            leave.set()
            with pytest.raises(DecodingStopped):
                leaving.result(2)
            stop.set()
            assert waiting.result(5) == "done"
            with pytest.raises(DecodingStopped):
                asleep.result(2)
    finally:
        sandbox.close()


def test_the_process_that_makes_workers_is_made_anew(video_path: Path) -> None:
    others = servers()
    sandbox = Sandbox()
    try:
        assert commit(sandbox, attacks.Honest(), video_path) == "done"
        mine = servers() - others
        assert len(mine) == 1
        for each in mine:
            os.kill(each, signal.SIGKILL)
        assert commit(sandbox, attacks.Honest(), video_path) == "done"
        assert len(servers() - others - mine) == 1
    finally:
        sandbox.close()
    wait_for(lambda: servers() <= others)


ORPHAN = """
import sys
from threading import Thread
from pathlib import Path
from tests.tools.sandbox import attacks
from tools.sandbox.client import Sandbox
sandbox, film = Sandbox(), Path(sys.argv[1])
for attack in (attacks.Sleep(), attacks.Spin()):
    Thread(target=sandbox.run, args=(attack, film, "a film", 60.0)).start()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_service_that_is_killed(video_path: Path, number: signal.Signals) -> None:
    root = Path(__file__).parents[3]
    here = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", ORPHAN, str(video_path)], cwd=root, env=here) as service:
        wait_for(lambda: [len(each) for each in generations(service.pid)] == [1, 2], 20)
        mine = set().union(*generations(service.pid))
        service.send_signal(number)
    wait_for(lambda: not any(Path(f"/proc/{each}").exists() for each in mine))


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Until a condition holds; fails if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
