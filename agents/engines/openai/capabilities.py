"""What is known about a model behind a server: its options, its card, what it offers, what media cost in tokens."""

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
    """None is found out: from the server, or from the model's profile. `side` is in pixels, `context` in tokens."""

    model: str | None = None
    dialect: Dialect | None = None
    profile: str | None = None
    packing: Packing | None = None
    answers: AnswerFormat | None = None
    side: int | None = None
    context: int | None = None
    timeout: float = DEFAULT_TIMEOUT


def parse_options(given: Mapping[str, str]) -> ServerOptions:
    """Options from an address. Raises EngineError, in words for whoever wrote it."""
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
    """One model. `root` is where vLLM took its weights from, `context` the most tokens that it reads and writes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    owned_by: str | None = None
    root: str | None = None
    context: int | None = Field(default=None, validation_alias="max_model_len")


class _ServedModels(BaseModel):
    data: list[ServedModel] = []


def parse_models(data: Any) -> list[ServedModel]:
    """What `/models` answered; empty if it is no list of models."""
    try:
        return _ServedModels.model_validate(data).data
    except ValidationError:
        return []


@dataclass(frozen=True, slots=True)
class TokenCosts:
    """Upper bounds. `label` is for the words before a picture.

    `second` is for those that tell one second of a clip, and `seconds` for all around them: 0 where none are needed.
    `factor` is by how much a prompt was once dearer than all this.
    """

    image: Price
    video: Price | None = None
    label: int = 0
    second: int = 0
    seconds: int = 0
    factor: float = 1.0

    def frame(self, side: int) -> int:
        """One frame as a picture, with the words before it."""
        return ceil(self.factor * (self.image.tokens(side) + self.label))

    def tokens(self, shown: Media) -> int:
        """Something that is shown, with the words before it."""
        if isinstance(shown, Picture):
            return self.frame(shown.frame.side)
        video, frames = self.video or self.image, len(shown.pictures)
        return ceil(self.factor * (video.tokens(shown.pictures[0].frame.side, frames) + self.words(frames)))

    def total(self, shown: Sequence[Media]) -> int:
        """All that is shown. Frames are counted by size: there are many, of one size or two."""
        sides = Counter(each.frame.side for each in shown if isinstance(each, Picture))
        clips = sum(self.tokens(each) for each in shown if not isinstance(each, Picture))
        return clips + sum(count * self.frame(side) for side, count in sides.items())

    def words(self, frames: int) -> int:
        """The words before a clip of so many frames."""
        return self.second * frames + self.seconds

    def raised(self, factor: float) -> TokenCosts:
        """Pictures cost more than was thought."""
        return replace(self, factor=self.factor * max(1.0, factor))


def raise_price(price: Price | None, tokens: int, side: int, frames: int = 1) -> Price:
    """A price under which so many frames of that side cost no less than was measured."""
    if price is None:
        return Price(each=max(1, -(-tokens // frames)))
    factor = max(1.0, tokens / price.tokens(side, frames))
    return price.model_copy(update={"factor": price.factor * factor})


@dataclass(frozen=True, slots=True)
class ModelCapabilities:
    """A model, how it is spoken to, what it offers and what it costs.

    `card` is what the server said about it. `trusting` servers take arguments for their processor with a request.
    `context` is in tokens.
    """

    card: ServedModel
    dialect: Dialect
    profile: Profile
    tariff: TokenCosts
    capabilities: frozenset[Capability] = frozenset()
    packing: Packing = "images"
    trusting: bool = False
    context: int | None = None
    max_pictures: int | None = None
    counts: bool = False
