"""An index that several write: each clip is written by one, and what the dead began is taken up."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.index.entries import IndexEntry, split_into_clips
from tools.index.index import LEASES_FILE, Index
from tools.index.leases import ProcessLiveness

VIDEO = 1200.0
LEVEL = 10.0

BUILDER = """
import sys, time
from pathlib import Path
from tools.index.entries import IndexEntry
from tools.index.index import Index
from tools.index.leases import ProcessLiveness

folder, name, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
index = Index(1200.0, folder=folder, presence=ProcessLiveness(folder.parent / "processes"))
written = 0
while todo := index.missing(10.0):
    before = written
    for clip in todo:
        if index.lease(clip):
            time.sleep(pause)
            start, end = clip.span.start, clip.span.end
            index.add([IndexEntry(clip.id, start, end, f"{name} saw {clip.number}", "caption", 10.0)])
            index.release(clip)
            written += 1
            print(clip.number, flush=True)
    if written == before:
        time.sleep(0.02)
index.save()
"""


def caption(number: int, text: str | None = None) -> IndexEntry:
    return IndexEntry(f"c:10:{number}", number * 10.0, number * 10.0 + 10.0, text or f"scene {number}", "caption", 10.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def builders() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that build, ended at last."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def begin(folder: Path, name: str, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(folder), name, str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])


def _claims(folder: Path) -> bool:
    if not (folder / LEASES_FILE).exists():
        return False
    with sqlite3.connect(folder / LEASES_FILE) as connection:
        found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'claim'").fetchone()[0]
        claimed = bool(found and connection.execute("SELECT count(*) FROM claim").fetchone()[0])
    connection.close()
    return claimed


def test_a_killed_builder_leaves_what_it_wrote_and_another_goes_on(
    folder: Path, builders: list[subprocess.Popen[str]]
) -> None:
    builders.append(first := begin(folder, "one", 0.005))
    assert first.stdout is not None
    done = [int(first.stdout.readline()) for _ in range(40)]
    first.send_signal(signal.SIGKILL)
    first.wait()
    index = Index(VIDEO, folder=folder)
    assert set(done) <= {int(line.id.split(":")[2]) for line in index.lines()}
    assert 0 < index.coverage(LEVEL) < 1
    builders.append(second := begin(folder, "two", 0.0))
    assert second.wait(60) == 0
    assert index.coverage(LEVEL) == 1
    assert index.size == 120
    assert {line.text.split()[0] for line in index.lines()} == {"one", "two"}
    assert index.search("two saw 119", 1)[0].id == "c:10:119"


def test_builders_in_several_processes_share_the_work(folder: Path, builders: list[subprocess.Popen[str]]) -> None:
    builders += [begin(folder, name, 0.01) for name in ("one", "two")]
    outputs = [process.communicate(timeout=120)[0].split() for process in builders]
    assert sorted(map(int, outputs[0] + outputs[1])) == list(range(120))
    assert min(map(len, outputs)) > 20


def test_what_the_dead_claimed_is_free_at_once(folder: Path, builders: list[subprocess.Popen[str]]) -> None:
    builders.append(process := begin(folder, "one", 60.0))
    index = Index(VIDEO, folder=folder, presence=ProcessLiveness(folder.parent / "processes"))
    clip = split_into_clips(VIDEO, LEVEL)[0]
    held = time.monotonic() + 20
    while not _claims(folder) and time.monotonic() < held:
        time.sleep(0.02)
    assert not index.lease(clip)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert index.lease(clip)


def test_a_clip_is_claimed_by_one_at_a_time(folder: Path, tmp_path: Path) -> None:
    index = Index(VIDEO, folder=folder, presence=ProcessLiveness(tmp_path / "processes"))
    clip, other = split_into_clips(VIDEO, LEVEL)[:2]
    assert index.lease(clip)
    assert not index.lease(clip)
    assert index.lease(other)
    index.release(clip)
    assert index.lease(clip)
    index.add([caption(1)])
    index.release(other)
    assert not index.lease(other)


def test_damaged_claims_are_forgotten(folder: Path) -> None:
    clip = split_into_clips(VIDEO, LEVEL)[110]
    assert Index(VIDEO, folder=folder).lease(clip)
    (folder / LEASES_FILE).write_bytes(b"x" * 5000)
    assert Index(VIDEO, folder=folder).lease(clip)


def test_what_one_writes_the_other_sees_at_once(folder: Path) -> None:
    one, other = Index(VIDEO, folder=folder), Index(VIDEO, folder=folder)
    assert (one.size, other.size) == (0, 0)
    one.add([caption(1, "a red star")])
    assert other.search("red star", 1)[0].id == "c:10:1"
    other.add([caption(1, "a blue dot")])
    assert one.search("blue dot", 1)[0].text == "a blue dot"
    assert one.size == 1


def test_what_the_dead_left_behind_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "processes"
    living = ProcessLiveness(place)
    assert living.is_alive(living.name)
    for name, age in (("old", 100.0), ("young", 0.0)):
        (place / f"{name}.alive").touch()
        os.utime(place / f"{name}.alive", (time.time() - age, time.time() - age))
    other = ProcessLiveness(place)
    names = {living.name, other.name, "young"}
    assert {file.stem for file in place.iterdir()} == names
    assert other.is_alive(living.name)
    first = living.name
    living.close()
    assert not other.is_alive(first)
    assert {file.stem for file in place.iterdir()} == names - {first}
