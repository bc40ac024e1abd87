from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tools.contexts import index_entry, tool_context
from tools.base import ToolError
from tools.builtin.search import ReadSubtitles, SearchClips, SearchSubtitles
from tools.context import ToolContext, ViewLimits
from tools.index.embedder import EmbedderUnavailable, Embeddings, HashedEmbedder
from tools.index.entries import IndexEntry
from tools.index.index import Index
from tools.video.video import Video

CAPTIONS = [
    index_entry(0, 10, "a red star crosses the field"),
    index_entry(10, 20, "an empty grey field"),
    index_entry(40, 50, "a red star and a blue square"),
    index_entry(50, 60, "a green circle turns"),
]
SPOKEN = [index_entry(12, 14, "my name is Anna", "subtitle"), index_entry(44, 46, "look at the star", "subtitle")]


@pytest.fixture(scope="module")
def video(video_path: Path) -> Video:
    return Video.open(video_path)


@pytest.fixture
def known(video: Video) -> ToolContext:
    return tool_context(video, [*CAPTIONS, *SPOKEN])


def test_hits_come_in_order_of_time_with_their_scores(known: ToolContext) -> None:
    seen = SearchClips(query="red star", top_k=2).apply(known)
    assert [(fact.start, fact.origin) for fact in seen.data] == [(0, "caption"), (40, "caption")]
    assert all(fact.score and 0 < fact.score <= 1 for fact in seen.data)
    assert seen.summary == "2 lines"


def test_what_is_said_in_the_clips_found_comes_with_them(video: Video) -> None:
    some = tool_context(video, [*CAPTIONS, *SPOKEN], limits=ViewLimits(hits=2, include_speech=True))
    seen = SearchClips(query="red star").apply(some)
    assert [(fact.start, fact.origin) for fact in seen.data] == [(0, "caption"), (40, "caption"), (44, "subtitle")]
    assert seen.data[2].score is None, "it was not searched for"


@pytest.mark.parametrize(("part", "found"), [(0.0, 3), (0.6, 2), (1.0, 1)])
def test_hits_far_below_the_best_are_left_out(video: Video, part: float, found: int) -> None:
    some = tool_context(video, CAPTIONS, limits=ViewLimits(min_relative_score=part))
    assert len(SearchClips(query="red star").apply(some).data) == found


def test_how_much_of_the_video_has_captions_is_said(known: ToolContext) -> None:
    assert "captions_cover_57%" in SearchClips(query="red star").apply(known).warnings


def test_weak_hits_are_called_weak(video: Video) -> None:
    some = tool_context(video, CAPTIONS, limits=ViewLimits(weak_score=0.999))
    assert "all_hits_weak" in SearchClips(query="star").apply(some).warnings


def test_nothing_in_the_range_is_looked_for_everywhere(known: ToolContext) -> None:
    seen = SearchClips(query="circle", top_k=1, start=0, end=9).apply(known)
    assert "nothing_in_range" in seen.warnings
    assert (seen.data[0].start, seen.data[0].end) == (50, 60)


def test_what_is_not_there_at_all_brings_an_even_overview(known: ToolContext) -> None:
    seen = SearchClips(query="?!", top_k=2).apply(known)
    assert "nothing_found_overview_instead" in seen.warnings
    assert len(seen.data) == 2
    assert all(fact.score is None for fact in seen.data)


def test_a_level_that_is_not_there_is_left_out(video: Video) -> None:
    some = tool_context(video, [*CAPTIONS, index_entry(0, 60, "shapes move over a field", level=60)])
    assert [f.end for f in SearchClips(query="shapes on the field", level=60).apply(some).data] == [60]
    assert "no_such_level" in SearchClips(query="star", level=30).apply(some).warnings


def test_a_video_of_which_nothing_is_known_is_not_searched(video: Video) -> None:
    with pytest.raises(ToolError) as caught:
        SearchClips(query="star").apply(tool_context(video))
    assert caught.value.code == "no_index"


def test_what_is_said_is_found_and_read(known: ToolContext) -> None:
    assert [fact.text for fact in SearchSubtitles(query="name Anna", top_k=1).apply(known).data] == ["my name is Anna"]
    assert [fact.text for fact in ReadSubtitles(start=40, end=50).apply(known).data] == ["look at the star"]


def test_where_nobody_speaks_the_nearest_lines_come(known: ToolContext) -> None:
    seen = ReadSubtitles(start=20, end=22).apply(known)
    assert "nobody_speaks_nearest_lines_instead" in seen.warnings
    assert [fact.start for fact in seen.data] == [12, 44]


def test_a_video_without_subtitles_says_so(video: Video) -> None:
    silent = tool_context(video, CAPTIONS)
    for tool in (ReadSubtitles(start=0, end=5), SearchSubtitles(query="name")):
        with pytest.raises(ToolError, match="no subtitles"):
            tool.apply(silent)


def test_not_more_lines_than_allowed(video: Video) -> None:
    many: list[IndexEntry] = [index_entry(i, i + 1, "so he said", "subtitle") for i in range(60)]
    seen = ReadSubtitles(start=0, end=60).apply(tool_context(video, many, limits=ViewLimits(max_facts=5)))
    assert (len(seen.data), seen.warnings) == (5, ("cut",))


class Silent(HashedEmbedder):
    """An embedder that is down as soon as it has seen the lines."""

    seen = False

    def embed(self, texts: Sequence[str]) -> Embeddings:
        if self.seen:
            raise EmbedderUnavailable("nobody answers")
        self.seen = True
        return super().embed(texts)


def test_while_the_embedder_is_down_words_find(video: Video) -> None:
    index = Index(video.span.end, [index_entry(10, 20, "platform 47"), index_entry(30, 40, "platform 12")], Silent())
    observation = SearchClips(query="47").apply(ToolContext(video, video.span, index))
    assert [fact.text for fact in observation.data] == ["platform 47"]
    assert "searched_by_words_alone" in observation.warnings
