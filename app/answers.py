"""The one path from a request to its answer, taken by the service and by the command line alike."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from agents.budget import Budget
from agents.engine import Engine
from agents.presets import BadStrategy, Catalogue
from agents.run import Run
from agents.runner import check, conduct
from agents.strategy import Strategy
from agents.trace import Listener
from app.caller import Caller
from app.errors import BadRequest
from app.report import respond
from app.schemas import AnswerRequest, AnswerResponse
from app.settings import Settings
from app.videos import Videos
from tools.moment import Span
from tools.video import Video


class Answers:
    """Answers requests with one engine."""

    def __init__(self, settings: Settings, catalogue: Catalogue, videos: Videos, engine: Engine) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._videos = videos
        self._engine = engine

    async def answer(self, request: AnswerRequest, caller: Caller, listener: Listener | None = None) -> AnswerResponse:
        """Answer one request; the listener hears what happens on the way. Raises what app.errors lists."""
        began = perf_counter()
        asked = request.strategy or {"name": self._settings.strategy}
        strategy = self._strategy(asked)
        if request.background:
            raise BadRequest("Background runs are not supported yet.", param="background", code="unsupported")
        fetching = perf_counter()
        async with self._videos.open(request.video, caller) as video:
            run = self._run(request, caller, video, listener)
            run.ledger.seconds["fetch"] += perf_counter() - fetching
            outcome = await conduct(strategy, run)
        named = self._named(str(asked["name"]), outcome.strategy)
        return respond(outcome, run, model=self._engine.model, strategy=named, total=perf_counter() - began)

    def _strategy(self, asked: Mapping[str, Any]) -> Strategy:
        try:
            strategy = self._catalogue.resolve(asked)
        except BadStrategy as error:
            if error.param != "strategy":
                error.param = f"strategy.{error.param}"
            raise
        check(strategy, self._engine)
        return strategy

    def _named(self, name: str, used: dict[str, Any]) -> dict[str, Any]:
        """All parameters under the program's name; and the preset's, if the caller asked for one."""
        preset = {"preset": name} if name in self._catalogue.presets else {}
        return {"name": used["name"], **preset, **used}

    def _run(self, request: AnswerRequest, caller: Caller, video: Video, listener: Listener | None) -> Run:
        span, span_notes = _span(request, video.info.duration)
        budget, budget_notes = _budget(request.budget, self._settings.budget.capped(caller.quota.run))
        run = Run(request.ask(), video, self._engine, span=span, budget=budget, seed=request.seed, listener=listener)
        run.ledger.degrade(*span_notes, *budget_notes)
        return run


def _span(request: AnswerRequest, duration: float) -> tuple[Span, list[str]]:
    """The part of the film that may be looked at, and in words what of the wish was not possible."""
    start, end = request.start or 0.0, duration if request.end is None else request.end
    if start >= duration:
        raise BadRequest(f"start: {start:g} s is past the end of the film, {duration:.3f} s.", param="start")
    if end > duration:
        return Span(start, duration), [f"end: the film is over after {duration:.3f} s, before {end:g} s"]
    return Span(start, end), []


def _budget(wanted: Budget, cap: Budget) -> tuple[Budget, list[str]]:
    """The budget within what the operator allows, and in words where that is less than was asked for."""
    granted = wanted.capped(cap)
    asked, given = wanted.model_dump(exclude_none=True), granted.model_dump()
    return granted, [
        f"budget: this service allows {given[name]:g} {name}, not {asked[name]:g}"
        for name in asked
        if given[name] < asked[name]
    ]
