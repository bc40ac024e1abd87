"""Which pictures are taken for many moments at once, against taking them one by one."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import numpy as np
import pytest

from tools.video.sampling import SampleWindow, Span, cheapest, grid, uniform
from tools.video.timeline import Timeline

TICK = Fraction(1, 1000)
GROUP = 12  # pictures


@pytest.fixture(params=range(20))
def rng(request: pytest.FixtureRequest) -> Random:
    return Random(request.param)


def timeline(rng: Random) -> Timeline:
    """Pictures at uneven ticks, a key picture every so many."""
    pts = np.cumsum([rng.choice((1, 33, 40, 500)) for _ in range(rng.randrange(1, 80))]).astype(np.int64)
    key = np.arange(len(pts)) % GROUP == 0
    return Timeline(pts, pts, pts, key, np.ones(len(pts), np.bool_), TICK)


def chosen(video: Timeline, moment: SampleWindow) -> int:
    """The cheapest picture in the window, of several the nearest, of several the first; else the one showing."""
    seconds = [video.seconds(position) for position in range(len(video))]
    inside = [at for at, second in enumerate(seconds) if moment.early <= second <= moment.late]
    if inside:
        return min(inside, key=lambda at: (at % GROUP, abs(seconds[at] - moment.time), at))
    return max([at for at, second in enumerate(seconds) if second <= moment.time], default=0)


def test_many_moments_are_chosen_as_one_by_one(rng: Random) -> None:
    video = timeline(rng)
    span = Span(0.0, video.seconds(video.last) + rng.random())
    wild = [SampleWindow.at(rng.uniform(-1, span.end + 1)) for _ in range(5)]
    plans = [cheapest(span, 7), uniform(span, 32), grid(span, 9), wild, [*wild, *uniform(span, 3)]]
    for plan in [plan for plan in plans for _ in range(2)]:
        assert video.choose(plan) == tuple(chosen(video, moment) for moment in plan)


def test_no_moments_are_no_pictures(rng: Random) -> None:
    assert timeline(rng).choose(()) == ()
