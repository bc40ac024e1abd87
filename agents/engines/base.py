"""Prompts, sampling parameters, replies, errors, and the base class of all engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, Literal, Protocol, Self

from tools.video.frame import Frame, ImageFile

RequestFailure = Literal["retried", "failed"]
"""retried: a request is sent again. failed: it is given up."""


class RequestObserver(Protocol):
    """Observes requests to a model server."""

    def request_failed(self, kind: RequestFailure) -> None:
        """A request failed."""

    def headers(self) -> Mapping[str, str]:
        """Headers to send with a request, such as W3C's traceparent."""


class NullObserver:
    """An observer that ignores everything."""

    def request_failed(self, kind: RequestFailure) -> None:
        """Ignored."""

    def headers(self) -> Mapping[str, str]:
        """No headers."""
        return {}


def choice_spellings(choice: str, choices: Sequence[str]) -> tuple[str, ...]:
    """The choice itself, capitalised, and both after a space, except where that is another choice.

    Models asked for `yes` may say `Yes`, and some chat templates make them begin with a space.
    """
    capital = choice[:1].upper() + choice[1:]
    ways = (choice, capital, f" {choice}", f" {capital}")
    return tuple(
        way for way in dict.fromkeys(ways) if way == choice or way.strip() == choice or way.strip() not in choices
    )


AnswerFormat = Literal["letter", "text"]  # how a model states its choice: by the option's letter, or by its text

Capability = Literal[
    "logprobs",  # of every generated token
    "choices",  # the probability of each choice
    "schema",
    "tools",
    "beam",
    "video",  # frames are sent as a video with their times
    "reuse",  # the server caches frames, so each is sent once
    "stream",  # on_text receives a reply piece by piece
]


OnText = Callable[[str], None]  # the next piece of a reply's text


class EngineError(Exception):
    """The model is down, restarting, or refused the request. The message is safe to show to clients.

    `detail` is for the operator's log: it may hold addresses and the server's message.
    """

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail or message


class PromptTooLong(Exception):
    """The prompt has more tokens or frames than the model takes."""


@dataclass(frozen=True)
class Picture:
    """A frame on its way to the model. `key` identifies its content (video, second, size) for caches."""

    frame: Frame
    key: str

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return self.frame.time

    @cached_property
    def file(self) -> ImageFile:
        """The frame as an image file, encoded once."""
        return self.frame.file()

    def resized(self, side: int) -> Picture:
        """The picture with its longest side at most `side` pixels; never enlarged."""
        frame = self.frame.resized(side)
        return self if frame is self.frame else Picture(frame, f"{self.key}:{side}")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that the model may call. `parameters` is the JSON schema of its arguments object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call by the model. `arguments` is JSON as the model wrote it, and may be invalid."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: text and pictures in the order in which the model reads them.

    An assistant's turn may hold `calls`; a tool's turn is the result of one of them, `call`. Pictures carry no labels:
    the engine adds their times in the way its model was trained on, or sends them as a video.
    """

    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[str | Picture, ...]
    calls: tuple[ToolCall, ...] = ()
    call: ToolCall | None = None


Prompt = tuple[Message, ...]


def pictures_of(prompt: Prompt) -> tuple[Picture, ...]:
    """All pictures of a prompt, in reading order."""
    return tuple(part for message in prompt for part in message.parts if isinstance(part, Picture))


def texts_of(prompt: Prompt) -> tuple[str, ...]:
    """All text of a prompt, tool calls included."""
    calls = (call for message in prompt for call in message.calls)
    said = (part for message in prompt for part in message.parts if isinstance(part, str))
    return (*said, *(f"{call.name} {call.arguments}" for call in calls))


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters, and constraints on the reply.

    Temperature 0 is greedy. `beam` returns the n most probable replies of a beam search of width n, without
    log-probabilities. At most one constraint is given: `choices` (the reply is one of these strings), `schema` (it is
    JSON of this schema) or `tools` (it may call these). A reasoning model reasons only with `think`.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    seed: int | None = None
    stop: tuple[str, ...] = ()
    beam: bool = False
    choices: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    tools: tuple[ToolSpec, ...] = ()
    think: bool = False

    @property
    def required_capabilities(self) -> frozenset[Capability]:
        """Capabilities the engine needs. Not `choices`: without it, the choice is parsed from free text."""
        wants: dict[Capability, bool] = {
            "schema": self.schema is not None,
            "tools": bool(self.tools),
            "beam": self.beam,
        }
        return frozenset(capability for capability, wanted in wants.items() if wanted)

    def streams(self, n: int) -> bool:
        """Whether n replies can be streamed: only a single unconstrained one can."""
        return n == 1 and not (self.choices or self.schema or self.tools or self.beam)


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token and its log-probability in nats."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One sample. `tokens` is empty without the capability `logprobs`.

    The model's reasoning stands in `text` between <think> and </think>.
    `probabilities` is the distribution over `Sampling.choices`, where they were given and the engine knows it.
    """

    text: str
    tokens: tuple[Token, ...] = ()
    finish: Literal["stop", "length", "calls"] = "stop"
    probabilities: Mapping[str, float] | None = None
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """All samples of one call and their token usage. Prompt tokens count once for all samples."""

    replies: tuple[Reply, ...]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


_PATCH = 14  # pixels; vision encoders make at most one token of such a square
_LABEL_TOKENS = 32  # a time label, and the marks around an image


class Engine(ABC):
    """Runs a model. A new engine gives `model`, `side` and `generate`; all else has a default.

    What is a property here may be a class attribute, a dataclass field with a default, or a property. Cancelling the
    task that awaits `generate` must stop the work itself. The scheme of its URLs is one line in
    `agents.engines.registry`.
    """

    @classmethod
    def open(
        cls,
        place: str,
        options: Mapping[str, str],
        *,
        api_key: str | None = None,  # noqa: ARG003
        observer: RequestObserver | None = None,  # noqa: ARG003
    ) -> Self:
        """Open the engine at `SCHEME:PLACE?NAME=VALUE`; by default an engine without place and options.

        Called by `open_engine`. Raises EngineError, in words for whoever wrote the URL.
        """
        if place or options:
            raise EngineError(f"the engine {cls.__name__} has neither an address nor options")
        return cls()

    @property
    @abstractmethod
    def model(self) -> str:
        """Name of the model, as reported to callers."""

    @property
    @abstractmethod
    def side(self) -> int:
        """Longest side of a frame in pixels, as the model sees it best."""

    @property
    def min_side(self) -> int:
        """Longest side in pixels below which frames show too little, or cost no less."""
        return self.side

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond replying with text."""
        return frozenset()

    @property
    def answer_format(self) -> AnswerFormat:
        """How the model states its choice among options: by letter, or, if it is very small, in words."""
        return "letter"

    @property
    def frames(self) -> int | None:
        """How many frames to show it if the caller does not say; None if unknown."""
        return None

    @property
    def context(self) -> int | None:
        """The most tokens that it reads and writes in one call; None if unknown."""
        return None

    @property
    def max_pictures(self) -> int | None:
        """The most frames in one prompt; None if unknown, or as many as fit into the context."""
        return None

    @property
    def problem(self) -> str | None:
        """Why it is unavailable, in words for callers; None while it is available, as far as is known."""
        return None

    def frame_tokens(self, side: int) -> int:
        """Upper bound of prompt tokens for one frame, `side` pixels long, and its time label."""
        return ceil(side / _PATCH) ** 2 + _LABEL_TOKENS

    def picture_tokens(self, prompt: Prompt) -> int:
        """Upper bound of prompt tokens for all frames of a prompt; a video may cost less than its frames alone."""
        return sum(self.frame_tokens(each.frame.side) for each in pictures_of(prompt))

    async def count(self, text: str) -> int:
        """Tokens of a text, or an upper bound: one for each byte. Raises EngineError."""
        return len(text.encode())

    def for_tenant(self, tenant: str) -> Self:  # noqa: ARG002
        """This engine for one tenant, whose caches no other tenant can observe. Close only the original."""
        return self

    async def probe(self) -> None:  # noqa: B027
        """Make it ready, and find out what it can do. Before that it may report less. Raises EngineError."""

    @abstractmethod
    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        """Draw n replies to one prompt.

        An engine with the capability `stream` calls `on_text` with each piece of a reply while it is written, where
        `Sampling.streams` allows it; the pieces joined are the reply's text. Raises EngineError, or PromptTooLong,
        after which `context` and `max_pictures` say what was learned.
        """

    async def close(self) -> None:  # noqa: B027
        """Release what it holds; may be called twice."""


_TEMPLATE_TOKENS = 64  # tokens; an upper bound for chat templates with their default system prompts
_TURN_TOKENS = 16


def prompt_token_bound(engine: Engine, prompt: Prompt, *, text_tokens: int | None = None) -> int:
    """Upper bound of a prompt's tokens. `text_tokens` are those of its text, by default one for each byte."""
    words = sum(len(text.encode()) for text in texts_of(prompt)) if text_tokens is None else text_tokens
    return words + engine.picture_tokens(prompt) + _TURN_TOKENS * len(prompt) + _TEMPLATE_TOKENS


_ANSWER_FORMATS: Mapping[str, AnswerFormat] = {"letter": "letter", "text": "text"}


def answer_format_option(options: Mapping[str, str]) -> AnswerFormat:
    """The option `answers` of an engine's URL, by default `letter`. Raises EngineError."""
    if (named := options.get("answers", "letter")) not in _ANSWER_FORMATS:
        raise EngineError(f"answers must be one of {', '.join(_ANSWER_FORMATS)}, not {named!r}")
    return _ANSWER_FORMATS[named]
