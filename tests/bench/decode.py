"""How fast frames come out of a video, against OpenCV, decord and seeking with PyAV for every frame.

Every measurement is a process of its own: opening the video and fetching N frames, 448 pixels wide; imports
are not counted. All contenders are asked for the same pictures and what they return is compared. The best of
`--rounds` runs counts for everyone. "confined" is "exact" in the sandbox, which was started before, as a service
does; its processor time has the workers' in it, its memory has not. Ends with status 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tests.bench.footage import RATE, SIZE, encode_footage
from tools.sandbox.client import Sandbox
from tools.video.decoders import Decoder
from tools.video.sampling import SampleWindow, Span, cheapest, uniform
from tools.video.video import Video

SIDE = 448
COUNTS = (8, 64, 256)
THUMB = (16, 9)
SAME = 3.0
"""Mean difference (of 255) between two thumbnails of the same picture scaled by two libraries."""

QUIET = 0.7
"""Share of a core our single thread must have got for the clock to mean anything."""

CONFINED = 1.05
"""Times as long as in this process that confined decoding may take at N = 64."""

MEMORY_GROWTH = 32.0
"""MiB that a video six times as long may add: its table of times, no pictures."""

Images = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Result:
    """Seconds by the clock and of processor time, peak MiB, and thumbnails, (frames, 9, 16) grey."""

    seconds: float
    busy: float
    memory: float
    thumbs: NDArray[np.int16]


def seconds_wanted(duration: float, n: int) -> list[float]:
    """The middles of n equal bins."""
    return [moment.time for moment in uniform(Span(0, duration), n)]


def by_opencv(path: Path, duration: float, n: int) -> Images:
    capture, images = cv2.VideoCapture(str(path)), []
    for second in seconds_wanted(duration, n):
        capture.set(cv2.CAP_PROP_POS_FRAMES, int(second * RATE))
        _, image = capture.read()
        size = (SIDE, SIDE * SIZE[1] // SIZE[0])
        images.append(cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
    return [np.asarray(image, np.uint8) for image in images]


def by_decord(path: Path, duration: float, n: int) -> Images:
    reader = importlib.import_module("decord").VideoReader(str(path), width=SIDE, height=SIDE * SIZE[1] // SIZE[0])
    return list(reader.get_batch([int(s * RATE) for s in seconds_wanted(duration, n)]).asnumpy())


def by_seeking(path: Path, duration: float, n: int) -> Images:
    images: Images = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        tick = float(stream.time_base or 0)
        for second in seconds_wanted(duration, n):
            container.seek(int(second / tick), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time + 1 / RATE > second:
                    scaled = frame.reformat(SIDE, SIDE * SIZE[1] // SIZE[0], "rgb24")
                    images.append(np.asarray(scaled.to_ndarray(), np.uint8))
                    break
    return images


def ours(
    choose: Callable[[Span, int], Sequence[SampleWindow]], decoder: str | Decoder = "pyav"
) -> Callable[[Path, float, int], Images]:
    """Our own look at the moments chosen in a span."""

    def fetch(path: Path, duration: float, n: int) -> Images:
        look = Video.open(path, decoder=decoder).get_frames(choose(Span(0, duration), n), SIDE)
        assert not look.degraded
        return [frame.image for frame in look.frames]

    return fetch


def exactly(span: Span, n: int) -> tuple[SampleWindow, ...]:
    return tuple(SampleWindow.at(second) for second in seconds_wanted(span.length, n))


SANDBOX = Sandbox()
FETCH: dict[str, Callable[[Path, float, int], Images]] = {
    "opencv": by_opencv,
    "decord": by_decord,
    "pyav seeking": by_seeking,
    "exact": ours(exactly),
    "centres": ours(uniform),
    "scout": ours(cheapest),
    "confined": ours(exactly, SANDBOX),
}
RIVALS = ("opencv", "decord", "pyav seeking")
OURS = {"exact": 1.0, "centres": 2.0, "scout": 5.0}
"""What we look for, and how many times as fast as the best rival it has to be (the last two at N = 64)."""


def work(name: str, path: Path, minutes: int, n: int) -> None:
    """One measurement, printed as JSON for the parent."""
    if name == "decord":
        importlib.import_module("decord")
    if name == "confined":
        assert not SANDBOX.report.open
    start, begun = time.perf_counter(), busy()
    images = FETCH[name](path, minutes * 60.0, n)
    seconds = time.perf_counter() - start
    time.sleep(0.05)  # until the last worker is reaped and its time can be seen
    spent = busy() - begun
    SANDBOX.close()
    thumbs = [cv2.cvtColor(cv2.resize(i, THUMB, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for i in images]
    json.dump({"seconds": seconds, "busy": spent, "memory": peak(), "thumbs": [t.tolist() for t in thumbs]}, sys.stdout)


def busy() -> float:
    """Seconds of processor time of this process, its children and what those have reaped."""
    total = time.process_time()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            facts = status.read_text().rpartition(")")[2].split()
            if int(facts[1]) == os.getpid():
                total += sum(map(int, facts[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def peak() -> float:
    """Most memory this process held, in MiB. Linux's ru_maxrss would start from what the parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(name: str, path: Path, minutes: int, n: int) -> Result:
    command = [sys.executable, "-m", "tests.bench.decode", "--work", name, str(path), str(minutes), str(n)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = json.loads(done.stdout)
    return Result(said["seconds"], said["busy"], said["memory"], np.array(said["thumbs"], np.int16))


def compare(path: Path, n: int, rounds: int) -> list[str]:
    """Print one N's table; returns the goals missed."""
    runs: dict[str, list[Result]] = {name: [] for name in FETCH}
    for _ in range(rounds):
        for name in FETCH:
            runs[name].append(measure(name, path, 10, n))
    best = {name: min(results, key=lambda r: r.seconds) for name, results in runs.items()}
    crowded = min(best[name].busy / best[name].seconds for name in OURS) < QUIET
    cost = {name: result.busy if crowded else result.seconds for name, result in best.items()}
    rival = min(RIVALS, key=lambda name: cost[name])
    if crowded:
        print(f"{n:4d}  (the machine is busy with other work: ratios are of processor time)")
    missed: list[str] = []
    for name, result in best.items():
        ratio = cost[rival] / cost[name]
        apart = difference(result.thumbs, best["exact"].thumbs) if name in (*RIVALS, "exact", "confined") else None
        same = "      " if apart is None else f"{apart:6.2f}"
        clock = f"{result.seconds:8.3f} s {result.busy:8.3f} s"
        print(f"{n:4d}  {name:13s} {clock}  {ratio:6.2f}x  {same}  {result.memory:6.0f} MiB", flush=True)
        if apart is not None and apart > SAME:
            missed.append(f"{name} returned other pictures at N = {n} (mean difference {apart:.1f})")
        if name in OURS and (name == "exact" or n == 64) and ratio < OURS[name]:
            missed.append(f"{name} at N = {n}: {ratio:.2f}x of {rival}, goal {OURS[name]}x")
    dearer = cost["confined"] / cost["exact"]
    if n == 64 and dearer > CONFINED:
        missed.append(f"confined at N = {n}: {dearer:.2f} times exact, goal {CONFINED}")
    return missed


def difference(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """Largest mean difference between two frames of the same moment; infinite if some are missing."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).mean(axis=(1, 2)).max())


def remember(videos: dict[int, Path], n: int = 64) -> list[str]:
    """Print peak memory on a short and a long video; returns the goals missed."""
    missed: list[str] = []
    print(f"\nPeak memory of the whole process at N = {n}, by length of the video")
    for name in FETCH:
        short, long = (measure(name, path, minutes, n).memory for minutes, path in videos.items())
        print(f"      {name:13s} {short:6.0f} MiB  {long:6.0f} MiB  {long - short:+6.1f}")
        if name in OURS and long - short > MEMORY_GROWTH:
            missed.append(f"{name} needs {long - short:.0f} MiB more for 60 minutes than for 10")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", nargs=4, metavar=("NAME", "FILM", "MINUTES", "N"), help="measure once")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each measurement; the best counts")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "secondlook-bench")
    options = parser.parse_args()
    if options.work:
        name, path, minutes, n = options.work
        work(name, Path(path), int(minutes), int(n))
        return 0
    videos = {minutes: encode_footage(options.folder, minutes) for minutes in (10, 60)}
    print(f"10 minutes, {SIZE[0]}x{SIZE[1]}, H.264; frames {SIDE} pixels wide; best of {options.rounds} runs")
    print("ratio: to the best of the three rivals; differs: pictures against ours, of 255")
    print("   N  how                time  processor   ratio  differs  peak memory")
    missed = [goal for n in COUNTS for goal in compare(videos[10], n, options.rounds)]
    missed += remember(videos)
    print("\n" + ("\n".join(f"MISSED  {goal}" for goal in missed) or "All goals met."))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
