"""Sampling windows and seconds."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from pydantic import TypeAdapter, ValidationError

from tools.video.sampling import (
    SampleWindow,
    Seconds,
    Span,
    around,
    cheapest,
    format_seconds,
    grid,
    jittered,
    spread,
    temporal_iou,
    uniform,
)

SPAN = Span(10.0, 26.0)


def test_a_grid_is_exact_and_starts_at_the_start() -> None:
    assert [m.time for m in grid(SPAN, 4)] == [10.0, 14.0, 18.0, 22.0]
    assert all(m.early == m.time == m.late for m in grid(SPAN, 4))


@pytest.mark.parametrize("span", [SPAN, Span(0, 0.7), Span(1 / 3, 7200.1)])
@pytest.mark.parametrize("n", [1, 3, 8, 100])
def test_doubling_a_grid_keeps_every_old_second(span: Span, n: int) -> None:
    old, new = grid(span, n), grid(span, 2 * n)
    assert new[::2] == old
    assert grid(span, 2 * n, known=n) == new[1::2]
    assert grid(span, 6 * n, known=2 * n) == tuple(m for i, m in enumerate(grid(span, 6 * n)) if i % 3)


def test_a_grid_refuses_a_grid_it_does_not_contain() -> None:
    with pytest.raises(ValueError, match="does not contain"):
        grid(SPAN, 48, known=32)
    assert grid(SPAN, 32, known=32) == ()


def test_centres_may_move_half_a_bin_and_scouts_a_whole_one() -> None:
    middle, whole = uniform(SPAN, 4), cheapest(SPAN, 4)
    assert [m.time for m in middle] == [m.time for m in whole] == [12.0, 16.0, 20.0, 24.0]
    assert [m.early for m in middle] == pytest.approx([11, 15, 19, 23])
    assert [m.late for m in middle] == pytest.approx([13, 17, 21, 25])
    assert [m.early for m in whole] == pytest.approx([10, 14, 18, 22])
    assert [m.late for m in whole] == pytest.approx([14, 18, 22, 26])
    assert all(one.late < other.early for one, other in itertools.pairwise(whole))


def test_jitter_puts_one_exact_second_in_each_bin_and_repeats_by_seed() -> None:
    moments = jittered(SPAN, 64, random.Random(3))
    assert moments == jittered(SPAN, 64, random.Random(3))
    assert moments != jittered(SPAN, 64, random.Random(4))
    assert [int((m.time - 10) / 0.25) for m in moments] == list(range(64))
    assert all(m.early == m.late for m in moments)


def test_around_is_cut_to_the_span() -> None:
    assert [m.time for m in around(18.0, SPAN, 3, 4.0)] == [16.0, 18.0, 20.0]
    assert [m.time for m in around(10.0, SPAN, 3, 4.0)] == [10.0, 11.0, 12.0]
    assert [m.time for m in around(99.0, SPAN, 2, 4.0)] == [26.0, 26.0]
    assert [m.time for m in around(18.3, SPAN, 1, 4.0)] == [18.3]


@pytest.mark.parametrize("span", [Span(0, 5e-324), Span(0.1, 0.1 + 1e-9), Span(0, 1e9)])
def test_no_moment_leaves_the_span(span: Span) -> None:
    for moment in [*grid(span, 7), *uniform(span, 7), *cheapest(span, 7), *jittered(span, 7, random.Random(1))]:
        assert span.start <= moment.early <= moment.time <= moment.late <= span.end


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5), (0, math.inf), (math.nan, 5), (0, math.nan)])
def test_a_span_is_checked(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="span"):
        Span(start, end)


@pytest.mark.parametrize("times", [(1, 2, 3), (3, 1, 2), (math.nan, 0, 1), (1, -math.inf, 2)])
def test_a_moment_is_checked(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="moment"):
        SampleWindow(*times)


def test_none_is_no_number_of_moments() -> None:
    for choose in (grid, uniform, cheapest):
        with pytest.raises(ValueError, match="at least one"):
            choose(SPAN, 0)
    with pytest.raises(ValueError, match="at least one"):
        jittered(SPAN, 0, random.Random(1))
    with pytest.raises(ValueError, match="at least one"):
        around(1.0, SPAN, -1, 1.0)


READ = TypeAdapter(Seconds)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (83.5, 83.5),
        ("83.5", 83.5),
        ("83.5s", 83.5),
        ("<83.5s>", 83.5),
        (" 12 seconds ", 12.0),
        ("1:23.5", 83.5),
        ("00:01:23.5", 83.5),
        ("1:00:00", 3600.0),
        ("-3", -3.0),
    ],
)
def test_seconds_are_read_as_models_write_them(given: object, seconds: float) -> None:
    assert READ.validate_python(given) == seconds


@pytest.mark.parametrize("given", ["soon", "", "1:2:3:4", "nan", "inf", float("nan"), None, [1]])
def test_what_is_no_second_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(given)


def test_seconds_are_written_short() -> None:
    assert [format_seconds(each) for each in (840.0, 12.34, 0)] == ["840", "12.3", "0"]


def test_overlap_and_spread() -> None:
    assert temporal_iou(Span(0, 10), Span(5, 15)) == pytest.approx(1 / 3)
    assert temporal_iou(Span(0, 1), Span(2, 3)) == 0
    moments = spread((Span(20, 50), Span(0, 10)), 8)
    assert len(moments) == 8
    assert [moment.time for moment in moments] == sorted(moment.time for moment in moments)
    assert sum(moment.time < 10 for moment in moments) == 2
