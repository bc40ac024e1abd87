"""An engine that runs a Hugging Face model in this process, one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Self

import torch

from agents.demo import WEIGHTS
from agents.engines.base import (
    AnswerFormat,
    Capability,
    Engine,
    EngineError,
    Generation,
    OnText,
    Prompt,
    RequestObserver,
    Sampling,
    answer_format_option,
)
from agents.engines.transformers.generate import PrefixCache, generate_replies, score_choices
from agents.engines.transformers.model import Checkpoint
from agents.profiles import Profiles

_OPTIONS = frozenset({"answers", "device", "dtype", "name", "side", "threads"})


def _count(options: Mapping[str, str], name: str, what: str) -> int | None:
    text = options.get(name)
    if text is not None and not (text.isdecimal() and int(text) > 0):
        raise EngineError(f"{name} must be a number of {what}, not {text!r}")
    return int(text) if text else None


class _Cancelled(Exception):
    """The request was cancelled."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A request for the worker thread. `on_text` receives the pieces of a streamed reply."""

    prompt: Prompt
    sampling: Sampling
    n: int
    cancelled: Event
    on_text: Callable[[str], object]

    def check(self) -> None:
        if self.cancelled.is_set():
            raise _Cancelled


class TransformersEngine(Engine):
    """Any image-text-to-text model of Hugging Face, on the CPU or a GPU.

    A prompt is prefilled once, and all its samples are generated as one batch. Requests run one at a time in a worker
    thread, in order of arrival. A cancelled request stops before its next token, but not during prefill. The last
    `remembered` prompts are cached, so further questions on the same frames prefill only what differs. `threads` is
    the number of processor threads; one is best for a very small model. Log-probabilities are in nats, of the model's
    own distribution.
    """

    capabilities: frozenset[Capability] = frozenset({"logprobs", "choices", "stream"})
    model: str = ""
    answer_format: AnswerFormat = "letter"
    side: int = 0
    min_side: int = 0
    frames: int | None = None
    context: int | None = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        answer_format: AnswerFormat = "letter",
        *,
        name: str | None = None,
        remembered: int = 2,
        threads: int | None = None,
    ) -> None:
        self._reader: PrefixCache | None = PrefixCache(checkpoint, remembered)
        # torch keeps the number of threads for each calling thread, so the worker sets it.
        self._worker = ThreadPoolExecutor(1, "model", torch.set_num_threads, (threads or torch.get_num_threads(),))
        self._requests: set[Event] = set()
        self.model = name or checkpoint.name
        self.answer_format = answer_format
        self.side = checkpoint.side
        self.min_side = checkpoint.min_side
        self.frames = Profiles.load().of(checkpoint.name).frames
        self.context = checkpoint.longest
        self._checkpoint = checkpoint

    @classmethod
    def open(
        cls,
        place: str,
        options: Mapping[str, str],
        *,
        api_key: str | None = None,  # noqa: ARG003
        observer: RequestObserver | None = None,  # noqa: ARG003
    ) -> Self:
        """Load a model from a folder or by its id. Raises EngineError."""
        if not place:
            raise EngineError("the engine names no model: write transformers:FOLDER-OR-ID")
        if unknown := sorted(options.keys() - _OPTIONS):
            raise EngineError(f"unknown option {unknown[0]!r}: a transformers engine has {', '.join(sorted(_OPTIONS))}")
        side, threads = _count(options, "side", "pixels"), _count(options, "threads", "processor threads")
        checkpoint = Checkpoint.load(place, device=options.get("device", "auto"), dtype=options.get("dtype"), side=side)
        return cls(checkpoint, answer_format_option(options), name=options.get("name"), threads=threads)

    async def generate(self, prompt: Prompt, sampling: Sampling, n: int, on_text: OnText | None = None) -> Generation:
        """Draw n replies to one prompt. Raises EngineError."""
        if self._reader is None:
            raise EngineError(f"{self.model} was closed")
        cancelled = Event()
        self._requests.add(cancelled)
        try:
            request = _Request(prompt, sampling, n, cancelled, _in_event_loop(on_text if sampling.streams(n) else None))
            job = self._worker.submit(self._work, self._reader, request)
            return await asyncio.wrap_future(job)
        except _Cancelled:
            raise EngineError(f"{self.model} was closed") from None
        except asyncio.CancelledError:
            cancelled.set()
            task = asyncio.current_task()
            if self._reader is None and task is not None and not task.cancelling():
                # Not cancelled by the caller: close() dropped waiting requests.
                raise EngineError(f"{self.model} was closed") from None
            raise
        finally:
            self._requests.discard(cancelled)

    def frame_tokens(self, side: int) -> int:
        """Upper bound of prompt tokens for one frame, `side` pixels long, and its time label."""
        return self._checkpoint.frame_tokens(side)

    async def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._checkpoint.tokenizer(text, add_special_tokens=False)["input_ids"])

    async def close(self) -> None:
        """Stop all requests and free memory."""
        self._reader = None
        for cancelled in self._requests:
            cancelled.set()
        await asyncio.to_thread(self._worker.shutdown, cancel_futures=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _work(self, reader: PrefixCache, request: _Request) -> Generation:
        try:
            with torch.inference_mode():
                return _generate(reader, request)
        except torch.OutOfMemoryError as error:
            reader.forget()
            advice = "send fewer or smaller frames, or draw fewer samples"
            raise EngineError(f"{self.model} ran out of memory: {advice}") from error
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise EngineError(f"{self.model} failed: {error}") from error


def _in_event_loop(on_text: OnText | None) -> Callable[[str], object]:
    """A function for the worker thread that calls `on_text` in the event loop."""
    if on_text is None:
        return lambda _: None
    loop = asyncio.get_running_loop()
    return lambda piece: loop.call_soon_threadsafe(on_text, piece)


def _generate(reader: PrefixCache, request: _Request) -> Generation:
    sampling, n = request.sampling, request.n
    request.check()
    prefill = reader.prefill(request.prompt)
    if sampling.choices:
        replies, written = score_choices(reader.checkpoint, prefill, sampling, n, request.check), n
    else:
        replies, written = generate_replies(reader.checkpoint, prefill, sampling, n, request.check, request.on_text)
    return Generation(tuple(replies), prefill.tokens, written, prefill.cached)


class DemoEngine(TransformersEngine):
    """The small model that this project ships; it answers in words."""

    @classmethod
    def open(
        cls,
        place: str,
        options: Mapping[str, str],
        *,
        api_key: str | None = None,
        observer: RequestObserver | None = None,
    ) -> Self:
        """Load the shipped weights, or those in another folder. Raises EngineError."""
        folder = place or str(WEIGHTS)
        if not Path(folder).is_dir():
            raise EngineError(f"the demo model is not in {folder}: train it with `python -m agents.demo train`")
        usual = {"answers": "text", "name": "demo", "threads": "1"}
        return super().open(folder, {**usual, **options}, api_key=api_key, observer=observer)
