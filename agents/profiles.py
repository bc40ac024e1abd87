"""Model profiles: how each family of models is best shown frames, from `profiles.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agents.engines.base import AnswerFormat
from agents.prompts.questions import frame_label

Packing = Literal["images", "video"]

_PROFILES = Path(__file__).with_name("profiles.toml")
_DEFAULT = "default"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Price(_Part):
    """Upper bound of prompt tokens for frames of any size.

    Either every frame costs `each` tokens, or each square of `patch` pixels is one token, with at least `least` tokens
    a frame because smaller frames are enlarged. `merge` frames of a video are encoded as one, with `around` tokens
    around it. `factor` is a measured correction.
    """

    each: int | None = Field(default=None, ge=1)
    patch: int | None = Field(default=None, ge=1)
    least: int = Field(default=1, ge=1)
    merge: int = Field(default=1, ge=1)
    around: int = Field(default=0, ge=0)
    factor: float = Field(default=1.0, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.each is None) == (self.patch is None):
            raise ValueError("a price has either each or patch")
        return self

    def tokens(self, side: int, frames: int = 1) -> int:
        """Tokens of so many frames whose longest side has `side` pixels; assumes squares, which cost the most."""
        return ceil(ceil(frames / self.merge) * (self._frame(side) + self.around) * self.factor)

    def _frame(self, side: int) -> int:
        if self.patch is None:
            return self.each or 0
        # A frame enlarged to the least size is then rounded up to whole patches along both sides.
        least = (ceil(sqrt(self.least)) + 1) ** 2 if self.least > 1 else 1
        return max(ceil(side / self.patch) ** 2, least)


class Thinking(_Part):
    """How a model's reasoning is switched on and off by arguments of its chat template, and marked in its text.

    Without `on` and `off` it cannot be switched. `parser` is the name for vLLM's `--reasoning-parser`.
    """

    on: dict[str, Any] = {}
    off: dict[str, Any] = {}
    tags: tuple[str, str] = ("<think>", "</think>")
    parser: str | None = None


class Profile(_Part):
    """One family of models. `patterns` are regular expressions, searched in the model's id without regard to case.

    `image` is the price of a frame sent as an image, measured at the server if None; `video` that of a frame in a
    video. `times` says where a video's times are: in its encoding, or in a label before it. `processor` holds
    arguments of the image processor that make frames cheaper. `frames` is the number of frames it works best with.
    """

    patterns: tuple[str, ...] = ()
    packing: Packing = "images"
    times: Literal["encoded", "written"] = "written"
    image: Price | None = None
    video: Price | None = None
    frames: Annotated[int, Field(ge=1)] = 64
    side: Annotated[int, Field(ge=16)] = 448
    min_side: Annotated[int, Field(ge=16)] = 448
    label: str = ""
    answer_format: AnswerFormat = "letter"
    context: int | None = Field(default=None, ge=256)
    processor: dict[str, Any] = {}
    tool_parser: str | None = None
    thinking: Thinking = Thinking()

    @field_validator("patterns")
    @classmethod
    def _readable(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for each in patterns:
            try:
                re.compile(each)
            except re.error as error:
                raise ValueError(f"{each!r} is no regular expression: {error}") from None
        return patterns

    @field_validator("label")
    @classmethod
    def _says_seconds(cls, words: str) -> str:
        try:
            labels = words.format(seconds=1.6), words.format(seconds=2.4)
        except (LookupError, ValueError) as error:
            raise ValueError(f"a label may only name {{seconds}}: {error!r}") from None
        if words and labels[0] == labels[1]:
            raise ValueError("a label must contain {seconds}, precise enough for times less than a second apart")
        return words

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_side > self.side:
            raise ValueError("min_side is larger than side")
        if self.packing == "video" and self.video is None:
            raise ValueError("to be shown as a video, frames need a price in a video")
        return self

    def words(self, seconds: float) -> str:
        """The time label before a frame that is sent as an image."""
        return self.label.format(seconds=seconds) if self.label else frame_label(seconds)

    def fits(self, name: str) -> bool:
        """Whether a model with this name belongs to the family."""
        return any(re.search(pattern, name, re.IGNORECASE) for pattern in self.patterns)


class Profiles:
    """All families by name, in the order in which they are tried, and a default for all other models."""

    def __init__(self, families: Mapping[str, Profile]) -> None:
        if _DEFAULT not in families:
            raise ValueError(f"there is no profile {_DEFAULT!r}")
        if idle := [name for name, each in families.items() if not each.patterns and name != _DEFAULT]:
            raise ValueError(f"no model can have the profile {idle[0]!r}: it has no patterns")
        self.families = dict(families)

    @classmethod
    def load(cls) -> Profiles:
        """Load the profiles that are shipped."""
        return cls.read(_PROFILES.read_text("utf-8"))

    @classmethod
    def read(cls, text: str) -> Profiles:
        """Parse profiles from TOML. Raises ValueError."""
        tables = tomllib.loads(text)
        return cls({name: Profile.model_validate(_whole(name, tables)) for name in tables})

    def named(self, names: Sequence[str | None]) -> str:
        """The family of a model with these names: id, or origin of its weights."""
        known = [name for name in names if name]
        return next((family for family, each in self.families.items() if any(map(each.fits, known))), _DEFAULT)

    def of(self, *names: str | None) -> Profile:
        """The profile of a model with these names."""
        return self.families[self.named(names)]


def _whole(name: str, tables: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the entries of the one named by `like`."""
    table = dict(tables[name])
    if (other := table.pop("like", None)) is None:
        return table
    if other not in tables or "like" in tables[other]:
        raise ValueError(f"profile {name!r} is like {other!r}, which does not exist or is like another itself")
    return {**tables[other], **table}
