"""The archive: one folder for each tenant, video and configuration; a tenant sees its own indexes only."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tools.index.archive import IndexArchive
from tools.index.embedder import HashedEmbedder
from tools.index.entries import IndexEntry, split_into_clips
from tools.index.index import ENTRIES_FILE, VECTORS_FILE, IndexFull
from tools.index.metadata import IndexConfig
from tools.video.sampling import Span

EMBEDDER = HashedEmbedder()
BUILDER = IndexConfig("model", "prompts", 10.0, 1.0, 448, EMBEDDER.name)
STAR, DOG = "a" * 64, "b" * 64


def caption(number: int, text: str) -> IndexEntry:
    return IndexEntry(f"c:10:{number}", number * 10.0, number * 10.0 + 10.0, text, "caption", 10.0)


@pytest.fixture
def archive(tmp_path: Path) -> IndexArchive:
    """Two videos of Ann's and one of Bob's."""
    archive = IndexArchive(tmp_path / "indexes", EMBEDDER)
    archive.open("ann", STAR, 60.0, BUILDER).add([caption(0, "a red star"), caption(1, "two blue dots")])
    archive.open("ann", DOG, 60.0, BUILDER).add([caption(0, "a dog runs"), caption(1, "a red ball")])
    archive.open("bob", STAR, 60.0, BUILDER).add([caption(0, "bob's red secret")])
    return archive


def found(archive: IndexArchive, tenant: str, query: str, **wish: object) -> list[tuple[str, str]]:
    hits = archive.search(tenant, query, **wish)  # type: ignore[arg-type]
    return [(metadata.video[0], hit.id) for metadata, hit in hits]


def test_the_same_index_is_opened_once(archive: IndexArchive) -> None:
    assert archive.open("ann", STAR, 60.0, BUILDER) is archive.open("ann", STAR, 60.0, BUILDER)
    assert archive.open("ann", STAR, 60.0, BUILDER) is not archive.open("bob", STAR, 60.0, BUILDER)


def test_tenants_see_their_own_alone(archive: IndexArchive) -> None:
    assert sorted(found(archive, "ann", "red", k=2)) == [("a", "c:10:0"), ("b", "c:10:1")]
    assert found(archive, "bob", "red") == [("a", "c:10:0")]
    assert found(archive, "eve", "red") == []
    assert [metadata.video for metadata in archive.list_indexes("bob")] == [STAR]
    assert archive.bytes("eve") == 0 < archive.bytes("bob") < archive.bytes("ann")
    assert {metadata.id for metadata in archive.list_indexes("ann")}.isdisjoint(
        metadata.id for metadata in archive.list_indexes("bob")
    )


def test_names_of_tenants_lead_nowhere_else(tmp_path: Path) -> None:
    archive = IndexArchive(tmp_path / "indexes", EMBEDDER)
    archive.open("../../evil", STAR, 60.0, BUILDER).add([caption(0, "x")])
    assert [path.name for path in tmp_path.iterdir()] == ["indexes"]


def test_another_builder_is_another_index(archive: IndexArchive) -> None:
    others = [
        replace(BUILDER, captioner="another"),
        replace(BUILDER, prompts="other"),
        replace(BUILDER, fps=2.0),
        replace(BUILDER, side=224),
        replace(BUILDER, clip_seconds=5.0),
        replace(BUILDER, format=99),
    ]
    for builder in others:
        index = archive.open("ann", STAR, 60.0, builder)
        assert index.size == 0
        index.add([caption(0, f"by {builder.digest}")])
    assert archive.open("ann", STAR, 60.0, BUILDER).size == 2
    assert len(archive.list_indexes("ann")) == 2 + len(others)


def test_a_video_is_searched_in_its_newest_index(archive: IndexArchive) -> None:
    archive.open("ann", STAR, 60.0, replace(BUILDER, captioner="better")).add([caption(0, "a crimson star")])
    assert archive.search("ann", "star")[0][1].text == "a crimson star"
    assert "a red star" not in {hit.text for _, hit in archive.search("ann", "star")}


@pytest.mark.usefixtures("archive")
def test_vectors_of_another_embedder_are_not_compared(tmp_path: Path) -> None:
    other = HashedEmbedder(64)
    both = IndexArchive(tmp_path / "indexes", other)
    both.open("ann", DOG, 60.0, replace(BUILDER, embedder=other.name)).add([caption(0, "a red kite")])
    assert found(both, "ann", "red") == [("b", "c:10:0")]


def test_filters_hold_over_all_videos(archive: IndexArchive) -> None:
    assert found(archive, "ann", "a red star or ball", span=Span(10.0, 20.0)) == [("b", "c:10:1")]
    assert found(archive, "ann", "red", level=60.0) == []
    assert found(archive, "ann", "red", sources=("subtitle",)) == []


def test_the_same_words_in_two_videos_are_two_hits(archive: IndexArchive) -> None:
    archive.open("ann", "c" * 64, 60.0, BUILDER).add([caption(0, "a red star")])
    assert sorted(found(archive, "ann", "a red star", k=2)) == [("a", "c:10:0"), ("c", "c:10:0")]


def test_what_is_added_is_found_within_a_second(archive: IndexArchive) -> None:
    assert all(hit.score < 0.2 for _, hit in archive.search("ann", "unicorn"))
    archive.open("ann", STAR, 60.0, BUILDER).add([caption(2, "a unicorn")])
    time.sleep(1.05)
    assert found(archive, "ann", "unicorn", k=1) == [("a", "c:10:2")]


def test_a_deleted_index_is_gone_at_once(archive: IndexArchive) -> None:
    index = archive.open("ann", STAR, 60.0, BUILDER)
    assert found(archive, "ann", "star")
    metadata = next(metadata for metadata in archive.list_indexes("ann") if metadata.video == STAR)
    assert not archive.delete("bob", metadata.id)
    assert archive.delete("ann", metadata.id)
    assert not archive.delete("ann", metadata.id)
    assert "a" not in {video for video, _ in found(archive, "ann", "star")}
    assert [each.video for each in archive.list_indexes("ann")] == [DOG]
    assert index.lines() == ()
    assert archive.open("ann", STAR, 60.0, BUILDER).size == 0


def test_an_archive_outlives_its_process(archive: IndexArchive, tmp_path: Path) -> None:
    before = archive.search("ann", "red ball")
    archive.close()
    assert list(tmp_path.rglob(VECTORS_FILE))
    again = IndexArchive(tmp_path / "indexes", EMBEDDER)
    assert again.search("ann", "red ball") == before
    assert again.open("ann", DOG, 60.0, BUILDER).search("dog", 1)[0].text == "a dog runs"


def test_only_so_much_is_kept_in_memory(tmp_path: Path) -> None:
    archive = IndexArchive(tmp_path, EMBEDDER, memory=50_000)
    for number in range(10):
        index = archive.open("ann", f"{number:064d}", 600.0, BUILDER)
        index.add([caption(place, f"film {number} scene {place}") for place in range(30)])
    assert 1 <= len(archive._open) <= 2
    assert archive.open("ann", f"{3:064d}", 600.0, BUILDER).search("scene 7", 1)[0].text == "film 3 scene 7"


def test_a_damaged_index_does_not_hide_the_others(
    archive: IndexArchive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive.close()
    for file in tmp_path.rglob(f"{STAR}*/{ENTRIES_FILE}"):
        file.write_bytes(b"x" * 9000)
    assert found(IndexArchive(tmp_path / "indexes", EMBEDDER), "ann", "red") == [("b", "c:10:1")]
    assert "put aside" in caplog.text


def test_what_is_in_an_index_is_told_without_opening_it(archive: IndexArchive, tmp_path: Path) -> None:
    index = archive.open("ann", STAR, 60.0, BUILDER)
    index.add([IndexEntry("s:0", 1.0, 2.0, "hello", "subtitle")], {"calls": 2})
    index.fail(split_into_clips(60.0, 10.0)[5], "nothing to see")
    archive.close()
    again = IndexArchive(tmp_path / "indexes", EMBEDDER)
    tally = again.summary(next(metadata for metadata in again.list_indexes("ann") if metadata.video == STAR))
    assert tally.lines == {("caption", 10.0): 2, ("subtitle", 0.0): 1}
    assert tally.failures == {"c:10:5": "nothing to see"}
    assert tally.cost == {"calls": 2}
    assert not again._open


def test_a_tenant_has_so_much_room(tmp_path: Path) -> None:
    archive = IndexArchive(tmp_path, EMBEDDER, room=50_000)
    first = archive.open("ann", STAR, 60.0, BUILDER)
    first.add([caption(number, f"scene {number}") for number in range(50)])
    second = archive.open("ann", DOG, 60.0, BUILDER)
    with pytest.raises(IndexFull, match="50000 bytes"):
        second.add([caption(0, "x")])
    first.add([caption(51, "what is there may be finished")])
    archive.open("bob", STAR, 60.0, BUILDER).add([caption(0, "x")])
    assert archive.delete("ann", archive.id_of("ann", STAR, BUILDER))
    second.add([caption(0, "x")])
    assert [metadata.video for metadata in archive.list_indexes("ann")] == [DOG]


def test_opening_without_using_leaves_nothing(tmp_path: Path) -> None:
    archive = IndexArchive(tmp_path / "indexes", EMBEDDER)
    for number in range(300):
        archive.open("ann", f"{number:064d}", 60.0, BUILDER)
    assert archive.list_indexes("ann") == []
    assert len(archive._open) <= 256
    assert not list(tmp_path.iterdir())


def test_what_nobody_opens_is_swept_away(archive: IndexArchive, tmp_path: Path) -> None:
    long_ago = time.time() - 1000
    for file in tmp_path.rglob(f"{DOG}*/card.json"):
        os.utime(file, (long_ago, long_ago))
    assert [metadata.video for metadata in archive.delete_unused(900.0)] == [DOG]
    assert [metadata.video for metadata in archive.list_indexes("ann")] == [STAR]
    assert archive.delete_unused(900.0) == []


def test_a_card_that_cannot_be_read_is_no_index(archive: IndexArchive, tmp_path: Path) -> None:
    archive.close()
    metadata = sorted(tmp_path.rglob("card.json"))
    metadata[0].write_text("{")
    metadata[1].write_text(json.dumps({"id": "x", "builder": {"unknown": 1}}))
    metadata[2].write_text("[]")
    again = IndexArchive(tmp_path / "indexes", EMBEDDER)
    assert again.list_indexes("ann") == again.list_indexes("bob") == []


@pytest.mark.usefixtures("archive")
def test_what_a_killed_process_left_half_made_is_no_index(tmp_path: Path) -> None:
    place = next(tmp_path.rglob("card.json")).parent.parent
    shutil.copytree(next(place.iterdir()), place / "part-x")
    count = sum(len(IndexArchive(tmp_path / "indexes", EMBEDDER).list_indexes(tenant)) for tenant in ("ann", "bob"))
    assert count == 3
