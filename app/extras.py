"""Optional parts of tools: a text reader for `ocr` and an object detector for `detect`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from agents.strategies.base import Extra, Strategy
from app.errors import BadRequest, Misconfigured
from app.settings import Settings
from tools.builtin.ocr import default_text_reader
from tools.context import Detector, TextReader

_HOW_TO_ENABLE: dict[Extra, str] = {
    "ocr": "nothing here reads writing: its operator must install RapidOCR or set SECONDLOOK_READER",
    "detect": "nothing here finds things by name: its operator must set SECONDLOOK_DETECTOR",
}


class Extras:
    """The text reader and the detector; None where not installed."""

    def __init__(self, reader: TextReader | None = None, detector: Detector | None = None) -> None:
        self.reader = reader
        self.detector = detector

    @classmethod
    def of(cls, settings: Settings) -> Extras:
        """The extras that the settings name, else those installed. Raises Misconfigured."""
        return cls(
            reader=_load("reader", settings.reader) if settings.reader else default_text_reader(),
            detector=_load("detector", settings.detector) if settings.detector else None,
        )

    def check(self, strategy: Strategy) -> None:
        """Raise BadRequest if a strategy names a tool whose extra is missing."""
        have = {"ocr": self.reader, "detect": self.detector}
        if missing := sorted(name for name in strategy.extras() if have[name] is None):
            raise BadRequest(
                f"strategy.tools: {missing[0]}: {_HOW_TO_ENABLE[missing[0]]}.",
                param="strategy.tools",
                code="tool_not_installed",
            )


def _load(setting: str, place: str) -> Any:
    """Call the function that `module:function` names."""
    wrong = partial(_misconfigured, setting, place)
    module, colon, name = place.partition(":")
    if not colon:
        raise wrong("write it as module:function")
    try:
        make: Callable[[], Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise wrong(str(error)) from error
    return make()


def _misconfigured(setting: str, place: str, why: str) -> Misconfigured:
    return Misconfigured(f"SECONDLOOK_{setting.upper()}={place}: {why}.")
