"""What an engine is: prompts, sampling, replies, errors, the `Engine` interface, and what all engines share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from tools.video.frame import Frame, ImageFile

RequestFailure = Literal["retried", "failed"]
"""retried: a request was sent again. failed: one was given up."""


class RequestObserver(Protocol):
    """Watches requests to a model server."""

    def request_failed(self, kind: RequestFailure) -> None:
        """Something went wrong."""

    def headers(self) -> Mapping[str, str]:
        """Headers that say what a request is part of, such as W3C's traceparent."""


class NullObserver:
    """Nobody watches."""

    def request_failed(self, kind: RequestFailure) -> None:
        """Not noted."""

    def headers(self) -> Mapping[str, str]:
        """None."""
        return {}


def choice_spellings(choice: str, choices: Sequence[str]) -> tuple[str, ...]:
    """The choice itself, with a capital, and both after a space; never a way that is another choice's own.

    Models that were asked for `yes` say `Yes`, and some templates make them begin with a space.
    """
    capital = choice[:1].upper() + choice[1:]
    ways = (choice, capital, f" {choice}", f" {capital}")
    return tuple(
        way for way in dict.fromkeys(ways) if way == choice or way.strip() == choice or way.strip() not in choices
    )


AnswerFormat = Literal["letter", "text"]  # how a model states its choice among options: by letter, or in their words

Capability = Literal[
    "logprobs",  # of every token
    "choices",  # the probability of each choice
    "schema",
    "tools",
    "beam",
    "video",  # frames are shown as a video that knows their seconds
    "reuse",  # a frame that was sent once is not sent again
    "stream",  # a reply is told piece by piece as it is written
]


OnText = Callable[[str], None]  # the next piece of a reply's text


class EngineError(Exception):
    """The model could not be run: it is down, restarting, or refused the request. The message is for callers.

    `detail` is for the operator: it may hold addresses and a server's own words.
    """

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail or message


class PromptTooLong(Exception):
    """A prompt is longer than the model reads, or shows more pictures. The caller asked for too much."""


@dataclass(frozen=True)
class Picture:
    """A frame on its way to the model. `key` names its content (film, second, size), for caches everywhere."""

    frame: Frame
    key: str

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return self.frame.time

    @cached_property
    def file(self) -> ImageFile:
        """The frame as a file, encoded once however often it is sent."""
        return self.frame.file()

    def resized(self, side: int) -> Picture:
        """The same picture with its longest side at most `side` pixels; never enlarged."""
        frame = self.frame.resized(side)
        return self if frame is self.frame else Picture(frame, f"{self.key}:{side}")


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """What the model may call. `parameters` is the JSON schema of its arguments, an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model calls. `arguments` is JSON as the model wrote it, which may be wrong."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: text and pictures in the order in which the model reads them.

    An assistant's turn may hold `calls`; a tool's turn is the result of one of them, `call`. Pictures carry no words:
    the engine says their seconds in the way that its model knows, or sends them as a video.
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
    """All words of a prompt: what was said, and what was called."""
    calls = (call for message in prompt for call in message.calls)
    said = (part for message in prompt for part in message.parts if isinstance(part, str))
    return (*said, *(f"{call.name} {call.arguments}" for call in calls))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn, and what the reply must be.

    Temperature 0 is greedy. `beam` returns the n most probable replies of a beam search of width n, without
    log-probabilities. At most one of these is given: `choices` holds the reply to one of these strings, `schema` to
    JSON of this schema, `tools` lets it call these. A model that can think by itself does so only with `think`.
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
        """What an engine must offer for this. Choices are no need: without them the reply is read as free text."""
        wants: dict[Capability, bool] = {
            "schema": self.schema is not None,
            "tools": bool(self.tools),
            "beam": self.beam,
        }
        return frozenset(offer for offer, wanted in wants.items() if wanted)

    def streams(self, n: int) -> bool:
        """Whether so many replies can be told piece by piece: it is one, and its words are free."""
        return n == 1 and not (self.choices or self.schema or self.tools or self.beam)


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token and its log-probability in nats."""

    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Reply:
    """One sample. `tokens` is empty if the engine offers no log-probabilities.

    What the model thought by itself stands in `text` between <think> and </think>.
    `probabilities` is the distribution over `Sampling.choices`, where they were given and the engine knows it.
    """

    text: str
    tokens: tuple[Token, ...] = ()
    finish: Literal["stop", "length", "calls"] = "stop"
    probabilities: Mapping[str, float] | None = None
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """All samples of one call and their bill. Prompt tokens count once however many samples share them."""

    replies: tuple[Reply, ...]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Engine(Protocol):
    """Runs a model. Cancelling the task that awaits `generate` stops the work itself."""

    @property
    def model(self) -> str:
        """Name of the model, as reported to callers."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this engine can do beyond text."""

    @property
    def answer_format(self) -> AnswerFormat:
        """How the model states its choice among options: nearly all by letter, very small ones in words."""

    @property
    def side(self) -> int:
        """Longest side, in pixels, at which frames should be sent."""

    @property
    def min_side(self) -> int:
        """Longest side, in pixels, below which the model no longer recognises much, or nothing is saved."""

    @property
    def frames(self) -> int | None:
        """How many frames it answers best from, if nobody says how many; None if unknown."""

    @property
    def context(self) -> int | None:
        """The most tokens that it reads and writes in one call; None if unknown."""

    @property
    def max_pictures(self) -> int | None:
        """The most pictures that it takes in one prompt; None if unknown, or as many as fit into its context."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be asked just now, in words for callers; None as long as nothing is known against it."""

    def frame_tokens(self, side: int) -> int:
        """Upper bound of prompt tokens for one frame of that longest side, in pixels, and its time label."""

    def picture_tokens(self, prompt: Prompt) -> int:
        """Upper bound of prompt tokens for all its pictures and their time labels: together they may cost less."""

    async def count(self, text: str) -> int:
        """Tokens of a text, or an upper bound where the engine cannot count. Raises EngineError."""

    def for_tenant(self, tenant: str) -> Engine:
        """The same engine for one tenant: nothing that it caches is shared with another's. Close only the original."""

    async def probe(self) -> None:
        """Find out what the engine offers, where that has to be asked: until then it may say nothing. EngineError."""

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        """Draw n replies to one prompt, which is read once.

        With `hear`, an engine that offers to stream tells a reply that can be (`Sampling.streams`) as it is written:
        the pieces joined are its text, and all else is as without. Raises EngineError, or TooLong if the prompt is too
        much at once: `context` and `most_pictures` then say what was learned from that.
        """

    async def close(self) -> None:
        """Give back what the engine holds."""


_TEMPLATE_TOKENS = 64  # tokens; more than chat templates and the system prompts in them were seen to add
_TURN_TOKENS = 16


def image_token_bound(engine: Engine, prompt: Prompt) -> int:
    """Upper bound of prompt tokens for pictures that are shown one by one."""
    return sum(engine.frame_tokens(each.frame.side) for each in pictures_of(prompt))


def prompt_token_bound(engine: Engine, prompt: Prompt, *, text_tokens: int | None = None) -> int:
    """Upper bound of a prompt's tokens, of which its words take `text_tokens`, or one for each byte if not counted."""
    words = sum(len(text.encode()) for text in texts_of(prompt)) if text_tokens is None else text_tokens
    return words + engine.picture_tokens(prompt) + _TURN_TOKENS * len(prompt) + _TEMPLATE_TOKENS


_ANSWER_FORMATS: Mapping[str, AnswerFormat] = {"letter": "letter", "text": "text"}


def answer_format_option(options: Mapping[str, str]) -> AnswerFormat:
    """What an engine's URL says, by letter if it says nothing. Raises EngineError."""
    if (named := options.get("answers", "letter")) not in _ANSWER_FORMATS:
        raise EngineError(f"answers must be one of {', '.join(_ANSWER_FORMATS)}, not {named!r}")
    return _ANSWER_FORMATS[named]
