"""What is known about a served model: options, capabilities, and token costs of frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.engines.base import AnswerFormat, Capability, EngineError, Picture, answer_format_option
from agents.engines.openai.media import Media
from agents.profiles import Packing, Price, Profile

Dialect = Literal["openai", "vllm"]

_DIALECTS: Mapping[str, Dialect] = {"openai": "openai", "vllm": "vllm"}
_PACKINGS: Mapping[str, Packing] = {"images": "images", "video": "video"}
OPTION_NAMES = ("answers", "context", "dialect", "model", "packing", "profile", "side", "timeout")
DEFAULT_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of an engine's URL. None is taken from the server or the model's profile.

    `side` is in pixels, `context` in tokens, `timeout` in seconds.
    """

    model: str | None = None
    dialect: Dialect | None = None
    profile: str | None = None
    packing: Packing | None = None
    answers: AnswerFormat | None = None
    side: int | None = None
    context: int | None = None
    timeout: float = DEFAULT_TIMEOUT


def parse_options(given: Mapping[str, str]) -> ServerOptions:
    """Parse the options of an engine's URL. Raises EngineError."""
    if unknown := sorted(given.keys() - set(OPTION_NAMES)):
        raise EngineError(f"unknown option {unknown[0]!r}: an openai engine has {', '.join(OPTION_NAMES)}")
    side, context = _number(given, "side"), _number(given, "context")
    return ServerOptions(
        model=given.get("model"),
        dialect=_DIALECTS[_one_of(given, "dialect", _DIALECTS)] if "dialect" in given else None,
        profile=given.get("profile"),
        packing=_PACKINGS[_one_of(given, "packing", _PACKINGS)] if "packing" in given else None,
        answers=answer_format_option(given) if "answers" in given else None,
        side=None if side is None else int(side),
        context=None if context is None else int(context),
        timeout=_number(given, "timeout") or DEFAULT_TIMEOUT,
    )


def _one_of(given: Mapping[str, str], name: str, known: Mapping[str, object]) -> str:
    if given[name] not in known:
        raise EngineError(f"{name} must be one of {', '.join(known)}, not {given[name]!r}")
    return given[name]


def _number(given: Mapping[str, str], name: str) -> float | None:
    if name not in given:
        return None
    try:
        value = float(given[name])
    except ValueError:
        value = 0
    if not 0 < value < 1e8:
        raise EngineError(f"{name} must be a positive number, not {given[name]!r}")
    return value


class ServedModel(BaseModel):
    """An entry of `/models`. `root` is where vLLM loaded the weights from, `context` the context length in tokens."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    owned_by: str | None = None
    root: str | None = None
    context: int | None = Field(default=None, validation_alias="max_model_len")


class _ServedModels(BaseModel):
    data: list[ServedModel] = []


def parse_models(data: Any) -> list[ServedModel]:
    """The entries of a `/models` response; empty if it is not a list of models."""
    try:
        return _ServedModels.model_validate(data).data
    except ValidationError:
        return []


@dataclass(frozen=True, slots=True)
class TokenCosts:
    """Upper bounds of prompt tokens. `label` is for the time label before an image.

    `second` is for each time in the label of a clip, `seconds` for the rest of that label: 0 where it has none.
    `factor` scales all of them, after a prompt has turned out to be longer.
    """

    image: Price
    video: Price | None = None
    label: int = 0
    second: int = 0
    seconds: int = 0
    factor: float = 1.0

    def frame(self, side: int) -> int:
        """Tokens of one frame sent as an image, with its label."""
        return ceil(self.factor * (self.image.tokens(side) + self.label))

    def tokens(self, shown: Media) -> int:
        """Tokens of an image or a clip, with its label."""
        if isinstance(shown, Picture):
            return self.frame(shown.frame.side)
        video, frames = self.video or self.image, len(shown.pictures)
        return ceil(self.factor * (video.tokens(shown.pictures[0].frame.side, frames) + self.words(frames)))

    def total(self, shown: Sequence[Media]) -> int:
        """Tokens of all media. Frames are grouped by size, because there are many of few sizes."""
        sides = Counter(each.frame.side for each in shown if isinstance(each, Picture))
        clips = sum(self.tokens(each) for each in shown if not isinstance(each, Picture))
        return clips + sum(count * self.frame(side) for side, count in sides.items())

    def words(self, frames: int) -> int:
        """Tokens of the label of a clip with so many frames."""
        return self.second * frames + self.seconds

    def raised(self, factor: float) -> TokenCosts:
        """The same costs, scaled up by a factor of 1 or more."""
        return replace(self, factor=self.factor * max(1.0, factor))


def raise_price(price: Price | None, tokens: int, side: int, frames: int = 1) -> Price:
    """A price under which so many frames, `side` pixels long, cost at least the measured `tokens`."""
    if price is None:
        return Price(each=max(1, -(-tokens // frames)))
    factor = max(1.0, tokens / price.tokens(side, frames))
    return price.model_copy(update={"factor": price.factor * factor})


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """What a probe has found out about a served model.

    `takes_processor_arguments`: requests may hold arguments for the image processor. `counts`: the server can tokenize.
    `context` is in tokens.
    """

    served: ServedModel
    dialect: Dialect
    profile: Profile
    token_costs: TokenCosts
    capabilities: frozenset[Capability] = frozenset()
    packing: Packing = "images"
    takes_processor_arguments: bool = False
    context: int | None = None
    max_pictures: int | None = None
    counts: bool = False
