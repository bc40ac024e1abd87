"""Schemas of POST /v1/answers: the request, the response and its report."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from agents.core.budget import Budget
from agents.core.question import HistoryTurn, Question, QuestionKind, StopReason
from agents.strategies import AnyStrategy


class PresetSpec(BaseModel):
    """A preset by name, with parameters of its strategy."""

    model_config = ConfigDict(extra="allow")

    name: str


def _as_object(value: Any) -> Any:
    spec = {"name": value} if isinstance(value, str) else value
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ValueError("give a name, or an object with a name and parameters")
    return spec


StrategySpec = Annotated[
    dict[str, Any], BeforeValidator(_as_object, json_schema_input_type=str | AnyStrategy | PresetSpec)
]
"""A name, or an object with a name and parameters. The catalogue validates it, since it knows the presets; the schema
here only documents the strategies."""

NonEmptyStr = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1), Field(json_schema_extra={"pattern": r"\S"})
]
Seconds = Annotated[float, Field(ge=0, le=1e8, allow_inf_nan=False)]
"""Seconds of a video; 1e8 are three years."""
EndSeconds = Annotated[Seconds, Field(gt=0)]
"""The end of a span; greater than 0."""
Options = Annotated[
    tuple[NonEmptyStr, ...],
    Field(max_length=26, json_schema_extra={"uniqueItems": True, "anyOf": [{"maxItems": 0}, {"minItems": 2}]}),
]
_SHORT_ANSWER_TOKENS = 32
"""Default length in tokens of an answer in a few words."""
Rounded = Annotated[float, AfterValidator(lambda value: round(value, 4))]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PictureInput(_Request):
    """One picture and, if known, its time in the video in seconds."""

    url: NonEmptyStr = Field(description="A data: or http(s): URL of a PNG, JPEG, WebP, GIF or BMP.")
    time: Seconds | None = None


_TIMES_SCHEMA: JsonDict = {
    "anyOf": [
        {"items": {"required": ["time"], "properties": {"time": {"type": "number"}}}},
        {"items": {"properties": {"time": {"type": "null"}}}},
    ]
}
Pictures = Annotated[tuple[PictureInput, ...], Field(min_length=1, json_schema_extra=_TIMES_SCHEMA)]
_VIDEO_FIELDS = ("file", "path", "url", "pictures")
_ONE_OF_SCHEMA: JsonDict = {
    "oneOf": [{"required": [place], "properties": {place: {"not": {"type": "null"}}}} for place in _VIDEO_FIELDS]
}


class VideoInput(_Request):
    """Where the video is: an uploaded file, a path on the server, a URL, or single pictures of it."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_SCHEMA)

    file: NonEmptyStr | None = Field(None, description="Id of an uploaded file.")
    path: NonEmptyStr | None = Field(None, description="A file under the directory that the operator allowed.")
    url: NonEmptyStr | None = Field(None, description="A http(s): or data: URL.")
    uuid: NonEmptyStr | None = Field(
        None, description="Your name for what is at the url; it is not fetched again then."
    )
    pictures: Pictures | None = Field(None, description="In order; one picture a second unless each has its own time.")

    @field_validator("pictures")
    @classmethod
    def _times_increase(cls, pictures: tuple[PictureInput, ...] | None) -> tuple[PictureInput, ...] | None:
        times = [each.time for each in pictures or () if each.time is not None]
        if times and len(times) < len(pictures or ()):
            raise ValueError("give every picture its time, or none")
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError("each picture's time must come after that of the one before")
        return pictures

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.file, self.path, self.url, self.pictures)) != 1:
            raise ValueError("give exactly one of file, path, url, pictures")
        if self.uuid is not None and self.url is None:
            raise ValueError("a uuid is a name for what is at a url")
        return self


def _file_id(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


VideoField = Annotated[VideoInput, BeforeValidator(_file_id, json_schema_input_type=NonEmptyStr | VideoInput)]


class AnswerRequest(_Request):
    """A video, a question, a way to answer it, and how much that may cost."""

    video: VideoField = Field(description="A file id, or where else the video is.")
    question: NonEmptyStr
    options: Options = Field((), description="Makes the question multiple choice: 2 to 26 options.")
    kind: QuestionKind | None = Field(
        None,
        description='What is asked for; "choice" with options, else "text", which is a few words. '
        '"open" asks the question as it stands, for an answer of any form.',
    )
    instructions: str = Field("", description="What the model is told before anything else, as its system message.")
    history: tuple[HistoryTurn, ...] = Field((), description="The conversation so far, oldest turn first.")
    max_tokens: int | None = Field(
        None, ge=1, le=32768, description="Longest text or open answer in tokens, thinking not counted."
    )
    json_schema: dict[str, Any] | None = Field(
        None, description="The answer is also stated as JSON of this schema, if need be by one more call."
    )
    fps: float | None = Field(
        None, gt=0, le=240, description="Frames for each second of the span, in place of the strategy's `frames`."
    )
    start: Seconds | None = Field(None, description="Second from which on the video may be looked at.")
    end: EndSeconds | None = Field(None, description="Second until which the video may be looked at.")
    strategy: StrategySpec | None = Field(
        None, description="A name from GET /v1/strategies, or an object with that name and parameters."
    )
    budget: Budget = Field(Budget(), description="The most that this answer may spend.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed draws the same frames and samples.")
    stream: bool = Field(False, description="Send what happens as server-sent events, then the answer.")
    background: bool = Field(False, description="Do not wait: return 202 and the run's id at once.")

    @field_validator("options")
    @classmethod
    def _options_differ(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        if options and not 2 <= len(options) <= 26:
            raise ValueError(f"give 2 to 26 options, not {len(options)}")
        if len({option.casefold() for option in options}) < len(options):
            raise ValueError("two options are the same")
        return options

    @field_validator("kind")
    @classmethod
    def _kind_fits(cls, kind: QuestionKind | None, info: ValidationInfo) -> QuestionKind | None:
        if kind and "options" in info.data and bool(info.data["options"]) != (kind == "choice"):
            raise ValueError('options and kind "choice" go together')
        return kind

    @field_validator("end")
    @classmethod
    def _end_follows(cls, end: float | None, info: ValidationInfo) -> float | None:
        start = info.data.get("start") or 0.0
        if end is not None and end <= start:
            raise ValueError(f"the end ({end:g} s) must come after the start ({start:g} s)")
        return end

    def to_question(self, open_tokens: int = 512) -> Question:
        """The question for the strategies. `open_tokens`: default length of an open answer."""
        kind = self.kind or ("choice" if self.options else "text")
        return Question(
            text=self.question,
            options=self.options,
            kind=kind,
            instructions=self.instructions,
            history=self.history,
            max_tokens=self.max_tokens or (open_tokens if kind == "open" else _SHORT_ANSWER_TOKENS),
        )


class AnswerCandidate(BaseModel):
    """A candidate answer and its share of the vote."""

    answer: str
    option: str | None
    share: Rounded
    confidence: Rounded | None


class EvidenceSpan(BaseModel):
    """A span of the video that supports the answer, in seconds, and what is seen there."""

    start: Rounded
    end: Rounded
    text: str


class Timings(BaseModel):
    """Durations in seconds. Concurrent calls add up, so `model` may exceed `total`."""

    fetch: Rounded
    decode: Rounded
    model: Rounded
    total: Rounded


class CaptionUsage(BaseModel):
    """Usage by captions."""

    calls: int
    frames: int
    prompt_tokens: int
    completion_tokens: int
    seconds: Rounded


class AnswerReport(BaseModel):
    """What was done and its measured cost. `degraded` lists what was not honoured."""

    strategy: dict[str, Any] = Field(description="Its name and all parameters as they were used.")
    model: str
    seed: int
    frames_viewed: int
    frames_unique: int
    frame_times: list[list[float]] = Field(description="Call by call, the seconds that the model saw.")
    calls: int
    rounds: int
    samples: int
    tool_calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    subtitles: bool
    captions: CaptionUsage | None = Field(
        None, description="What of all this went into captions, which the next question need not pay for."
    )
    seconds: Timings
    stopped: StopReason
    degraded: list[str]


class AnswerResponse(BaseModel):
    """The answer with its confidence, candidates, evidence and report."""

    id: str
    answer: str | None = Field(description="null when no reply of the model could be read as an answer.")
    option: str | None = Field(description="Its letter, if the question had options.")
    confidence: Rounded | None = Field(description="0 to 1; null when unknown.")
    candidates: list[AnswerCandidate]
    evidence: list[EvidenceSpan]
    structured: dict[str, Any] | None = Field(
        None, description="The answer as JSON of the `json_schema`; null if that did not succeed."
    )
    report: AnswerReport
