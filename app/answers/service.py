"""Answers one request with the engine; the service and the command line share it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from agents.core.budget import Budget
from agents.core.question import Answer
from agents.core.run import Run
from agents.core.runner import check_engine, restate_as_json, run_strategy
from agents.core.trace import OnDelta, OnEvent
from agents.engines.base import Engine
from agents.parsing.json_schema import AnswerSchema, BadSchema
from agents.presets import BadStrategy, Catalogue
from agents.strategies import STRATEGIES
from agents.strategies.base import Strategy
from app.access.caller import Caller
from app.answers.preferences import AnswerSpec, apply_preferences
from app.answers.response import build_response, new_run_id
from app.answers.schemas import AnswerRequest, AnswerResponse
from app.errors import BadRequest
from app.extras import Extras
from app.indexes.manager import IndexManager
from app.settings import Settings
from app.videos import VideoLoader
from tools.video.sampling import Span
from tools.video.source import VideoSource


class AnswerService:
    """Answers requests with one engine."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        videos: VideoLoader,
        engine: Engine,
        indexes: IndexManager,
        extras: Extras,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._videos = videos
        self._engine = engine
        self._indexes = indexes
        self._extras = extras

    async def answer(
        self,
        order: AnswerSpec,
        caller: Caller,
        on_event: OnEvent | None = None,
        on_delta: OnDelta | None = None,
        *,
        run_id: str | None = None,
    ) -> AnswerResponse:
        """Answer one request. `on_event` gets events, `on_delta` pieces of partial replies.

        Raises the exceptions that app.errors maps to responses.
        """
        began = perf_counter()
        request, engine = order.request, self._engine.for_tenant(caller.tenant)
        asked = self._asked(request)
        strategy = self._strategy(asked)
        fetching = perf_counter()
        async with self._videos.open(request.video, caller) as footage:
            fetched = perf_counter() - fetching
            run = self._run(request, caller, footage, engine, on_event, on_delta)
            strategy, notes = apply_preferences(
                strategy, asked.keys() - {"name"}, order.preferences.for_duration(run.span.length)
            )
            run.usage.seconds["fetch"] += fetched
            run.usage.add_degradation(*order.notes, *notes)
            outcome = await run_strategy(strategy, run)
            structured = await self._structured(order, run, outcome.answer)
        _note_unused_pictures(request, run)
        return build_response(
            outcome,
            run,
            run_id=run_id or new_run_id(),
            model=engine.model,
            strategy=self._named(str(asked["name"]), outcome.strategy),
            seed=request.seed,
            structured=structured,
            total=perf_counter() - began,
        )

    @property
    def model(self) -> str:
        """Name of the model."""
        return self._engine.model

    def check(self, order: AnswerSpec) -> None:
        """Validate what needs no video. Raises BadStrategy, UnfitEngine or BadRequest."""
        self._strategy(self._asked(order.request))
        if order.request.json_schema is not None:
            self._schema(order.request.json_schema)

    async def _structured(self, order: AnswerSpec, run: Run, answer: Answer) -> dict[str, Any] | None:
        """The answer as JSON of the requested schema; None without a schema or an answer."""
        request = order.request
        if request.json_schema is None or answer.value is None:
            return None
        option = answer.value if run.question.kind == "choice" else None
        words = order.format_answer(run.display(answer.value), option)
        most = request.max_tokens or self._settings.answer_tokens
        return await restate_as_json(run, answer, words, self._schema(request.json_schema), most)

    def _schema(self, source: Mapping[str, Any]) -> AnswerSchema:
        """Raises BadRequest."""
        most, size = self._settings.max_schema_bytes, len(json.dumps(source))
        if size > most:
            raise BadRequest(f"json_schema: {size} bytes are more than {most}, the most.", param="json_schema")
        try:
            return AnswerSchema(source)
        except BadSchema as error:
            raise BadRequest(f"json_schema: {error}", param="json_schema", code="invalid_schema") from None

    def _asked(self, request: AnswerRequest) -> Mapping[str, Any]:
        """The requested strategy, or the configured one for this kind of question."""
        usual = self._settings.open_strategy if request.kind == "open" else self._settings.strategy
        return request.strategy or {"name": usual}

    def _strategy(self, asked: Mapping[str, Any]) -> Strategy:
        try:
            strategy = self._catalogue.resolve({**self._usual(str(asked["name"])), **asked})
        except BadStrategy as error:
            if error.param != "strategy":
                error.param = f"strategy.{error.param}"
            raise
        check_engine(strategy, self._engine)
        self._extras.check(strategy)
        return strategy

    def _usual(self, name: str) -> Mapping[str, Any]:
        """The engine's number of frames as a default; presets keep the numbers of their papers."""
        strategy = STRATEGIES.get(name)
        return {"frames": self._engine.frames} if strategy and strategy.whole and self._engine.frames else {}

    def _named(self, name: str, used: dict[str, Any]) -> dict[str, Any]:
        """All parameters with the strategy's name, and the preset's name if one was requested."""
        preset = {"preset": name} if name in self._catalogue.presets else {}
        return {"name": used["name"], **preset, **used}

    def _run(
        self,
        request: AnswerRequest,
        caller: Caller,
        footage: VideoSource,
        engine: Engine,
        listener: OnEvent | None,
        follower: OnDelta | None,
    ) -> Run:
        span, span_notes = _span(request, footage.span)
        budget, budget_notes = _budget(request.budget, self._settings.budget.capped(caller.quota.run))
        question = request.to_question(self._settings.answer_tokens)
        run = Run(
            question,
            footage,
            engine,
            span=span,
            budget=budget,
            token_pool=caller.token_pool,
            seed=request.seed,
            on_event=listener,
            on_delta=follower,
            index=self._indexes.opener(caller, footage, request.video, engine),
            caption_config=self._indexes.captioning,
            text_reader=self._extras.reader,
            detector=self._extras.detector,
        )
        run.usage.add_degradation(*span_notes, *budget_notes)
        return run


def _span(request: AnswerRequest, whole: Span) -> tuple[Span, list[str]]:
    """The part of the video that may be used, and notes on what was not honoured."""
    start = whole.start if request.start is None else max(request.start, whole.start)
    end = whole.end if request.end is None else request.end
    if start >= whole.end:
        raise BadRequest(f"start: {start:g} s is past the end of the video, {whole.end:.3f} s.", param="start")
    if end <= start:
        raise BadRequest(f"end: {end:g} s is before the video begins, at {whole.start:.3f} s.", param="end")
    if end > whole.end:
        return Span(start, whole.end), [f"end: the video is over after {whole.end:.3f} s, before {end:g} s"]
    return Span(start, end), []


def _budget(wanted: Budget, cap: Budget) -> tuple[Budget, list[str]]:
    """The budget within what the operator allows, and notes where that is less than requested."""
    granted = wanted.capped(cap)
    given = dict(granted)
    return granted, [
        f"budget: this service allows {given[name]:g} {name}, not {asked:g}"
        for name, asked in wanted
        if asked is not None and given[name] < asked
    ]


def _note_unused_pictures(request: AnswerRequest, run: Run) -> None:
    """Report if not all pictures of the request were shown."""
    given = len(request.video.pictures or ())
    if run.usage.frames_unique < given:
        run.usage.add_degradation(f"pictures: {run.usage.frames_unique} of the {given} given were shown to the model")
