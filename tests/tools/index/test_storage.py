"""An index on the disk: what was added lasts, damage is noticed, and what other processes write is seen."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.index.embedder import HashedEmbedder
from tools.index.entries import IndexEntry
from tools.index.index import ENTRIES_FILE, VECTORS_FILE, Index
from tools.index.storage import IndexUnavailable
from tools.video.limits import BadVideo

VIDEO = 1200.0
LEVEL = 10.0

FILLER = """
import resource, signal, sys
from pathlib import Path
from tools.index.entries import IndexEntry
from tools.index.index import Index
from tools.index.storage import IndexUnavailable

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
index = Index(1200.0, folder=Path(sys.argv[1]))
lines = [IndexEntry(f"c:10:{n}", n * 10.0, n * 10.0 + 10.0, "x" * 1500, "caption", 10.0) for n in range(2, 99)]
assert index.size == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))
try:
    index.add(lines)
except IndexUnavailable as error:
    print(error)
"""


def caption(number: int, text: str | None = None) -> IndexEntry:
    return IndexEntry(f"c:10:{number}", number * 10.0, number * 10.0 + 10.0, text or f"scene {number}", "caption", 10.0)


def said(number: int, text: str) -> IndexEntry:
    return IndexEntry(f"s:{number}", float(number), number + 1.0, text, "subtitle")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def built(folder: Path) -> Path:
    """A folder with a saved index of a hundred lines."""
    index = Index(VIDEO, [caption(number) for number in range(100)], folder=folder)
    index.save()
    return folder


def test_what_was_added_lasts_without_being_saved(folder: Path) -> None:
    Index(VIDEO, [caption(3)], folder=folder)
    assert Index(VIDEO, folder=folder).lines() == (caption(3),)
    assert not (folder / VECTORS_FILE).exists()


def test_an_index_is_the_same_however_it_is_opened(built: Path) -> None:
    saved = Index(VIDEO, folder=built).search("scene 42", 5)
    (built / VECTORS_FILE).unlink()
    assert Index(VIDEO, folder=built).search("scene 42", 5) == saved
    assert saved[0].id == "c:10:42"


def test_lines_added_after_saving_are_there_after_opening(built: Path) -> None:
    Index(VIDEO, [caption(100), caption(7, "something else")], folder=built)
    index = Index(VIDEO, folder=built)
    assert index.size == 101
    assert index.search("something else", 1)[0].id == "c:10:7"
    assert index.search("scene 100", 1)[0].id == "c:10:100"


@pytest.mark.parametrize("place", [0, 30, -1])
def test_a_damaged_file_of_vectors_is_made_again(built: Path, place: int, caplog: pytest.LogCaptureFixture) -> None:
    whole = Index(VIDEO, folder=built).search("scene 42", 5)
    data = bytearray((built / VECTORS_FILE).read_bytes())
    data[place] ^= 0xFF
    (built / VECTORS_FILE).write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert Index(VIDEO, folder=built).search("scene 42", 5) == whole
    assert "made again" in caplog.text


def test_a_file_of_vectors_from_elsewhere_is_not_used(built: Path, tmp_path: Path) -> None:
    other = Index(VIDEO, [caption(number, "lies") for number in range(100)], folder=tmp_path / "other")
    other.save()
    shutil.copy(tmp_path / "other" / VECTORS_FILE, built / VECTORS_FILE)
    assert Index(VIDEO, folder=built).search("scene 42", 1)[0].score > 0.9


@pytest.mark.parametrize("damage", ["not a database", "cut", "overwritten"])
def test_a_damaged_database_is_put_aside_and_begun_anew(
    built: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = built / ENTRIES_FILE
    data = bytearray(file.read_bytes())
    if damage == "not a database":
        data[:100] = b"x" * 100
    elif damage == "cut":
        del data[5000:]
    else:
        data[4096:] = os.urandom(len(data) - 4096)
    file.write_bytes(data)
    index = Index(VIDEO, folder=built)
    assert index.size == 0
    index.add([caption(1)])
    assert index.search("scene 1", 1)[0].id == "c:10:1"
    assert (built / f"{ENTRIES_FILE}.damaged").exists()
    assert "put aside" in caplog.text


def test_a_line_that_was_changed_on_the_disk_is_missing(built: Path) -> None:
    data = (built / ENTRIES_FILE).read_bytes()
    assert data.count(b"scene 42") == 1
    (built / ENTRIES_FILE).write_bytes(data.replace(b"scene 42", b"scene 43"))
    index = Index(VIDEO, folder=built)
    assert next(clip.number for clip in index.missing(LEVEL)) == 42
    assert index.size == 99
    assert "c:10:42" not in {hit.id for hit in index.search("scene 42", 50)}


def test_a_vector_that_was_changed_on_the_disk_is_missing(folder: Path) -> None:
    Index(VIDEO, [caption(1)], folder=folder)
    half = HashedEmbedder().embed(["scene 1"]).astype(np.float16).tobytes()
    data = (folder / ENTRIES_FILE).read_bytes()
    assert half in data
    (folder / ENTRIES_FILE).write_bytes(data.replace(half, half[:100] + b"\x00\x3c" + half[102:]))
    assert Index(VIDEO, folder=folder).size == 0


def test_a_cost_is_added_up_and_lasts(folder: Path) -> None:
    index = Index(VIDEO, folder=folder)
    index.add([caption(1)], {"calls": 1, "prompt_tokens": 900.0})
    index.add([caption(2)], {"calls": 1, "prompt_tokens": 100.0})
    assert Index(VIDEO, folder=folder).cost() == {"calls": 2, "prompt_tokens": 1000}


def test_a_removed_folder_is_an_error_and_not_made_again(built: Path) -> None:
    index = Index(VIDEO, folder=built)
    assert index.size == 100
    shutil.rmtree(built)
    with pytest.raises(IndexUnavailable, match="no longer there"):
        index.search("scene")
    assert not built.exists()


def test_a_forgotten_index_goes_on_empty(built: Path) -> None:
    index = Index(VIDEO, folder=built)
    index.detach()
    shutil.rmtree(built)
    index.add([caption(1)])
    assert index.size == 1
    assert not built.exists()


def test_a_full_disk_is_an_error_and_nothing_is_lost(folder: Path) -> None:
    Index(VIDEO, [caption(1)], folder=folder)
    command = [sys.executable, "-c", FILLER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True)
    assert done.stdout.startswith("The index cannot be ")
    assert Index(VIDEO, folder=folder).lines() == (caption(1),)


def test_subtitles_are_heard_once(folder: Path) -> None:
    heard = []

    def hear() -> list[IndexEntry]:
        heard.append(1)
        return [said(0, "hello there")]

    index = Index(VIDEO, folder=folder)
    index.add_subtitles_later(hear)
    assert not heard
    assert index.search("hello", 1)[0].source == "subtitle"
    again = Index(VIDEO, folder=folder)
    again.add_subtitles_later(hear)
    assert again.subtitles() == (said(0, "hello there"),)
    assert len(heard) == 1


def test_subtitles_that_cannot_be_heard_now_are_heard_later(folder: Path) -> None:
    def fail() -> list[IndexEntry]:
        raise BadVideo("The file is gone.")

    index = Index(VIDEO, folder=folder)
    index.add_subtitles_later(fail)
    assert index.subtitles() == ()
    index.add_subtitles_later(lambda: [said(0, "hello")])
    assert index.subtitles() == (said(0, "hello"),)


def test_subtitles_can_be_replaced_and_others_see_it(folder: Path) -> None:
    index, other = Index(VIDEO, [caption(1)], folder=folder), Index(VIDEO, folder=folder)
    index.add_subtitles_later(lambda: [said(0, "old words"), said(1, "more old words")])
    assert (len(index.subtitles()), len(other.subtitles())) == (2, 2)
    index.save()
    index.replace_subtitles([said(0, "new words")])
    for each in (index, other, Index(VIDEO, folder=folder)):
        assert each.subtitles() == (said(0, "new words"),)
        assert not each.search("old", 9, by="words")
        assert each.search("scene 1", 1)[0].id == "c:10:1"
