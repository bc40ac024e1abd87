"""The index: what is found, what fits, what is left out."""

import pytest

from tools.index.entries import IndexEntry, VideoClip, clip_levels, split_into_clips
from tools.index.index import MAX_ENTRY_CHARACTERS, Index, IndexFull
from tools.video.sampling import Span

VIDEO = 600.0


def caption(number: int, text: str, level: float = 10.0) -> IndexEntry:
    return IndexEntry(f"c:{level:g}:{number}", number * level, (number + 1) * level, text, "caption", level)


def said(number: int, start: float, text: str) -> IndexEntry:
    return IndexEntry(f"s:{number}", start, start + 2.0, text, "subtitle")


SHOTS = (
    caption(0, "a red star is in the left corner"),
    caption(1, "two blue circles move to the right"),
    caption(2, "a sign reads PLATFORM 47"),
    caption(3, "a sign reads PLATFORM 12"),
    caption(4, "a woman in a green coat opens an umbrella"),
    caption(5, "an empty street in the rain"),
    caption(0, "a red star, then blue circles, then signs", level=60.0),
    said(0, 12.0, "Welcome back, Ms Okonkwo."),
    said(1, 41.0, "It is going to rain."),
)


@pytest.fixture
def index() -> Index:
    return Index(VIDEO, SHOTS)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("where is the red star", "c:10:0"),
        ("blue circle", "c:10:1"),
        ("the lady with a green coat", "c:10:4"),
        ("umbrellas", "c:10:4"),
        ("platform 47", "c:10:2"),
        ("47", "c:10:2"),
        ("12", "c:10:3"),
        ("okonkwo", "s:0"),
        ("RAINING", "s:1"),
    ],
)
def test_what_is_asked_for_comes_first(index: Index, query: str, first: str) -> None:
    found = index.search(query, 3, level=None)
    assert found[0].id == first
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert all(0 < hit.score <= 1 for hit in found)


def test_the_same_words_score_one(index: Index) -> None:
    assert index.search("an empty street in the rain", 1)[0].score == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("query", ["", "???", "\n"])
def test_nothing_is_found_for_no_words(index: Index, query: str) -> None:
    assert index.search(query) == ()


def test_filters_hold(index: Index) -> None:
    assert {hit.id for hit in index.search("red star", 9, level=60.0)} == {"c:60:0"}
    assert all(hit.source == "subtitle" for hit in index.search("rain red star", 9, sources=("subtitle",)))
    inside = index.search("red star sign circle rain", 9, span=Span(15.0, 25.0), level=10.0)
    assert {hit.id for hit in inside} == {"c:10:1", "c:10:2"}


def test_words_alone_need_no_vectors(index: Index) -> None:
    assert [hit.id for hit in index.search("47", by="words")] == ["c:10:2"]


def test_lines_are_in_order_of_time(index: Index) -> None:
    lines = index.lines(Span(0.0, 20.0))
    assert [line.id for line in lines] == ["c:10:0", "c:60:0", "c:10:1", "s:0"]
    assert [line.id for line in index.subtitles()] == ["s:0", "s:1"]


def test_a_line_that_says_the_same_as_its_neighbour_is_shown_once() -> None:
    still = [caption(number, "a man sits at a desk") for number in range(6)]
    later = caption(40, "a man sits at a desk")
    index = Index(VIDEO, [*still, later])
    assert [hit.id for hit in index.search("man at a desk")] == ["c:10:0", "c:10:40"]
    assert len(index.search("man at a desk", distinct=False)) == 7


def test_a_line_replaces_the_one_of_the_same_id(index: Index) -> None:
    index.add([caption(5, "a dog runs")])
    assert index.search("empty street", 1, level=10.0)[0].score < 0.5
    assert index.search("dog", 1)[0].id == "c:10:5"
    assert index.size == len(SHOTS)


def test_coverage_counts_clips(index: Index) -> None:
    assert index.coverage(10.0) == pytest.approx(6 / 60)
    assert index.coverage(10.0, Span(0.0, 60.0)) == 1
    assert [clip.number for clip in index.missing(10.0, Span(40.0, 80.0))] == [6, 7]


def test_an_index_holds_so_many_lines() -> None:
    index = Index(VIDEO, SHOTS, most=len(SHOTS))
    with pytest.raises(IndexFull, match="9 lines"):
        index.add([said(9, 1.0, "one more")])
    assert index.size == len(SHOTS)


def test_a_line_has_so_many_characters() -> None:
    index = Index(VIDEO, [caption(0, "x" * (MAX_ENTRY_CHARACTERS + 1))])
    assert len(index.lines()[0].text) == MAX_ENTRY_CHARACTERS


def test_a_text_without_words_can_be_kept() -> None:
    index = Index(VIDEO, [caption(0, "…"), caption(1, "")])
    assert index.size == 2
    assert index.search("anything") == ()


@pytest.mark.parametrize(
    ("duration", "level", "ends"),
    [(30.0, 10.0, [10, 20, 30]), (31.0, 10.0, [10, 20, 31]), (35.0, 10.0, [10, 20, 30, 35]), (4.0, 10.0, [4])],
)
def test_clips_cover_a_video_once(duration: float, level: float, ends: list[float]) -> None:
    cut = split_into_clips(duration, level)
    assert [clip.span.end for clip in cut] == ends
    assert [clip.span.start for clip in cut] == [0, *ends[:-1]]


@pytest.mark.parametrize(
    ("start", "end", "numbers"), [(0, 10, [0]), (5, 25, [0, 1, 2]), (30.5, 31, [2]), (90, 99, [2])]
)
def test_clips_of_a_span_are_those_that_overlap_it(start: float, end: float, numbers: list[int]) -> None:
    assert [clip.number for clip in split_into_clips(31.0, 10.0, Span(start, end))] == numbers


def test_a_clip_names_itself() -> None:
    assert VideoClip(10.0, 37, Span(370, 380)).id == "c:10:37"
    assert VideoClip(2.5, 3, Span(7.5, 10)).id == "c:2.5:3"


def test_levels_end_with_the_video() -> None:
    assert clip_levels(8.0, 10.0) == (10.0,)
    assert clip_levels(1800.0, 10.0) == (10.0, 60.0, 600.0)
    assert clip_levels(7200.0, 10.0) == (10.0, 60.0, 600.0, 3600.0)


@pytest.mark.parametrize(("duration", "level"), [(0.0, 10.0), (10.0, 0.0), (float("inf"), 1.0), (1.0, float("nan"))])
def test_clips_need_lengths(duration: float, level: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        split_into_clips(duration, level)
