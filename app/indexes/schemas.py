"""Schemas of /v1/indexes and /v1/search."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from agents.core.budget import Budget
from app.answers.schemas import EndSeconds, NonEmptyStr, Rounded, Seconds, VideoField, VideoInput

Subtitles = Annotated[
    str, Field(min_length=1, description="The text of an .srt or .vtt file, in place of the video's.")
]
IndexStatus = Literal["queued", "building", "complete", "partial", "failed"]
TextSource = Literal["caption", "subtitle", "ocr"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IndexRequest(_Request):
    """A video to be captioned from end to end, in the background."""

    video: VideoField = Field(description="A file id, or where else the video is.")
    level: Seconds | None = Field(None, description="Longest clips to be captioned, in seconds; all if left out.")
    subtitles: Subtitles | None = None
    budget: Budget = Field(Budget(), description="The most that this may spend. What is written by then stays.")


_VIDEO_AND_INDEX: JsonDict = {
    "required": ["video", "index"],
    "properties": {place: {"not": {"type": "null"}} for place in ("video", "index")},
}


class SearchRequest(_Request):
    """What to look for, in one video or in all that are indexed."""

    model_config = ConfigDict(json_schema_extra={"not": _VIDEO_AND_INDEX})

    query: NonEmptyStr = Field(max_length=2000)
    video: VideoField | None = Field(
        None, description="Where to look; everywhere if neither this nor `index` is given."
    )
    index: NonEmptyStr | None = Field(None, description="Id of an index to look in.")
    k: int = Field(8, ge=1, description="Most hits.")
    start: Seconds | None = Field(None, description="Second from which on to look.")
    end: EndSeconds | None = Field(None, description="Second until which to look.")
    level: Seconds | None = Field(None, gt=0, description="Only captions of clips of so many seconds.")
    sources: tuple[TextSource, ...] = Field((), description="Where the text must come from.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.video is not None and self.index is not None:
            raise ValueError("give a video or an index, not both")
        if self.end is not None and self.end <= (self.start or 0.0):
            raise ValueError("the end must come after the start")
        return self


class LevelState(BaseModel):
    """How far clips of one length are captioned."""

    seconds: Rounded
    clips: int
    captioned: int
    failed: int


class IndexCost(BaseModel):
    """The cost of all captions of an index."""

    calls: int = 0
    frames: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: Rounded = 0.0


class BuiltWith(BaseModel):
    """The configuration of an index. Another configuration is another index."""

    captioner: str
    clip_seconds: float
    fps: float
    side: int
    embedder: str


class BuildError(BaseModel):
    """Why building ended early."""

    message: str
    code: str


class IndexObject(BaseModel):
    """The caption index of a video."""

    id: str
    object: Literal["index"] = "index"
    status: IndexStatus
    created_at: int
    video: VideoInput
    duration: Rounded
    levels: list[LevelState]
    subtitles: int
    bytes: int
    cost: IndexCost
    builder: BuiltWith
    current: bool = Field(description="Whether it is what would be built, and is used, now.")
    error: BuildError | None = None


class IndexList(BaseModel):
    """All indexes of a tenant, the oldest first."""

    object: Literal["list"] = "list"
    data: list[IndexObject]


class DeletedIndex(BaseModel):
    """A deleted index."""

    id: str
    object: Literal["index"] = "index"
    deleted: Literal[True] = True


class HitObject(BaseModel):
    """One hit of a search."""

    object: Literal["hit"] = "hit"
    index: str
    video: VideoInput
    id: str = Field(description="The line within its video: c:10:37 is the caption of the 38th clip of ten seconds.")
    start: Rounded
    end: Rounded
    text: str
    score: Rounded = Field(description="0 to 1, by the measure of the embedder.")
    source: TextSource
    level: Rounded = Field(description="Length of the clips that the caption is about; 0 for what is said.")


class HitList(BaseModel):
    """The hits of a search, best first."""

    object: Literal["list"] = "list"
    data: list[HitObject]
    coverage: Rounded | None = Field(None, description="Of one video: which part of its clips has captions.")
    degraded: list[str] = Field(default_factory=list, description="What could not be honoured.")
