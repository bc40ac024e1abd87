"""Schemas of chat requests: OpenAI's, with one object of our own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, model_validator
from pydantic.config import JsonDict

from agents.core.budget import Budget
from agents.core.question import QuestionKind
from app.answers.schemas import EndSeconds, Options, Seconds, StrategySpec


class _OpenAIModel(BaseModel):
    """Unknown fields are allowed: clients send more than is documented."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TextPart(_OpenAIModel):
    """Words."""

    type: Literal["text"]
    text: str


class MediaUrl(_OpenAIModel):
    """Where a picture or a video is."""

    url: str | None = None


MediaUrlField = Annotated[
    MediaUrl,
    BeforeValidator(lambda value: {"url": value} if isinstance(value, str) else value, json_schema_input_type=MediaUrl),
]


class ImagePart(_OpenAIModel):
    """A picture; several of them are the frames of one video."""

    type: Literal["image_url"]
    image_url: MediaUrlField


class VideoPart(_OpenAIModel):
    """A video: http(s), data: or file: URL, or the id of an uploaded file."""

    type: Literal["video_url"]
    video_url: MediaUrlField = MediaUrl()
    uuid: str | None = Field(None, description="Your name for what is at the url; it is not fetched again then.")


class FileReference(_OpenAIModel):
    """A file that was uploaded, or its content."""

    file_id: str | None = None
    file_data: str | None = Field(None, description="A data: URL, or base64.")
    filename: str | None = None


class FilePart(_OpenAIModel):
    """A video or picture as OpenAI's clients send files."""

    type: Literal["file"]
    file: FileReference


class AudioPart(_OpenAIModel):
    """Audio, which is refused."""

    type: Literal["input_audio", "audio_url"]


ContentPart = Annotated[TextPart | ImagePart | VideoPart | FilePart | AudioPart, Discriminator("type")]
_SupportedPart = Annotated[TextPart | ImagePart | VideoPart | FilePart, Discriminator("type")]
_ROLES: JsonDict = {"enum": ["system", "developer", "user", "assistant"]}
"""Those of tools are read too, to say what is wrong with them."""


def _parts(value: Any) -> Any:
    if value is None:
        return []
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class ChatMessage(_OpenAIModel):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"] = Field(json_schema_extra=_ROLES)
    content: Annotated[
        tuple[ContentPart, ...], BeforeValidator(_parts, json_schema_input_type=str | list[_SupportedPart] | None)
    ] = ()


class JsonSchemaFormat(_OpenAIModel):
    """The form that a reply must have."""

    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(_OpenAIModel):
    """Plain text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _schema_is_given(self) -> Self:
        if self.type == "json_schema" and (self.json_schema is None or self.json_schema.schema_ is None):
            raise ValueError('type "json_schema" needs json_schema with a schema')
        return self


class StreamOptions(_OpenAIModel):
    """Whether a stream reports usage: in a last chunk, or in every one."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class VideoIO(_OpenAIModel):
    """vLLM's options for the frames of a video. -1 leaves it to the strategy."""

    num_frames: int | None = Field(None, ge=-1)
    fps: float | None = Field(None, ge=-1, le=240, allow_inf_nan=False)


class MediaIO(_OpenAIModel):
    """vLLM's options for media."""

    video: VideoIO | None = None


class SecondLookOptions(BaseModel):
    """Our own options in one object (`extra_body` of OpenAI's clients): how to answer and the budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: StrategySpec | None = Field(
        None, description="A name from GET /v1/strategies, or an object with that name and parameters."
    )
    budget: Budget = Field(Budget(), description="The most that this reply may spend, all choices together.")
    start: Seconds | None = Field(None, description="Second from which on the video may be looked at.")
    end: EndSeconds | None = Field(None, description="Second until which the video may be looked at.")
    options: Options = Field((), description="Makes the question multiple choice: 2 to 26 options.")
    kind: QuestionKind | None = Field(
        None, description='What is asked for. Without it: options or "yes or no" where the words name them, else open.'
    )
    steps: bool = Field(False, description="Send every step of a stream as `secondlook.step` of an empty delta.")


class ChatRequest(BaseModel):
    """A conversation about one video. Fields that are not listed are ignored, and reported if they say anything."""

    model_config = ConfigDict(extra="allow", frozen=True)

    model: str = Field(min_length=1, description="From GET /v1/models; `model:strategy` also chooses the strategy.")
    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    n: int | None = Field(None, ge=1, description="Independent answers, with the seeds seed, seed + 1, …")
    seed: int | None = Field(
        None, ge=-(2**63), lt=2**63, description="The same seed draws the same frames and samples; else a new one."
    )
    max_tokens: int | None = Field(None, ge=1, le=32768, description="Longest open answer, thinking not counted.")
    max_completion_tokens: int | None = Field(None, ge=1, le=32768, description="Longest single reply of the model.")
    temperature: float | None = Field(None, ge=0, le=2, description="For strategies that draw samples.")
    top_p: float | None = Field(None, gt=0, le=1, description="For strategies that have it.")
    response_format: ResponseFormat | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    media_io_kwargs: MediaIO | None = Field(None, description="vLLM's: `video.num_frames` and `video.fps`.")
    secondlook: SecondLookOptions = SecondLookOptions()


class ModelCard(BaseModel):
    """A name under which the model answers."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "secondlook"
    offers: list[str]
    strategy: str | None = Field(None, description="The strategy that this name chooses; null if the default.")


class ModelList(BaseModel):
    """All model names."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
