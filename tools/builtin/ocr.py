"""Read writing in the pictures: an extra, for which something that reads must be installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from tools.base import AppliedArguments, Fact, Observation, Tool, ToolError, clamp_range, counted
from tools.context import RecognizedText, TextReader, ToolContext
from tools.video.frame import Frame
from tools.video.sampling import Seconds, spread

_FPS = 0.5  # frames a second that are read
_SIDE = 1280  # pixels


class Ocr(Tool):
    """Read the writing in the pictures from `start` to `end`, in seconds."""

    essential: ClassVar[tuple[str, ...]] = ("start", "end")
    name: Literal["ocr"] = "ocr"
    start: Seconds = Field(description="First second.")
    end: Seconds = Field(description="Last second.")

    def apply(self, context: ToolContext) -> Observation:
        if context.text_reader is None:
            raise ToolError("not_installed", "Nothing here reads writing.", "Use view or zoom.")
        place = clamp_range(context, self.start, self.end)
        count = max(1, min(context.limits.frames, round(place.span.length * _FPS)))
        lines: dict[str, Fact] = {}
        for frame in context.frames(spread((place.span,), count), _SIDE):
            for word in context.text_reader.read(frame):
                known = lines.get(word.text)
                first = frame.time if known is None else known.start
                score = round(min(max(word.score, 0.0), 1.0), 2)
                lines[word.text] = Fact(start=first, end=frame.time, text=word.text, origin="ocr", score=score)
        kept = tuple(lines.values())[: context.limits.max_facts]
        applied = AppliedArguments(ranges=((place.span.start, place.span.end),), frames=count, side=_SIDE)
        return Observation(summary=counted(len(kept), "line"), data=kept, applied=applied, warnings=place.warnings)


class RapidOcrReader:
    """RapidOCR's models, which are part of its package; loaded when first read with, which takes a second.

    Safe under threads as far as ONNX Runtime is.
    """

    def __init__(self) -> None:
        self._engine: Any = None
        self._loading = Lock()

    def read(self, frame: Frame) -> tuple[RecognizedText, ...]:
        """All lines of writing, from top to bottom."""
        found, _ = self._loaded()(np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)))
        return tuple(RecognizedText(str(text), float(score)) for _, text, score in found or ())

    def _loaded(self) -> Any:
        with self._loading:
            if self._engine is None:
                self._engine = import_module("rapidocr_onnxruntime").RapidOCR()
            return self._engine


def default_text_reader() -> TextReader | None:
    """What reads writing here: None unless RapidOCR is installed."""
    return RapidOcrReader() if find_spec("rapidocr_onnxruntime") else None
