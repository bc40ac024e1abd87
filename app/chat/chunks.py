"""A chat reply as it comes: OpenAI's chunks, made of what a run tells and of its completion."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

from app.chat.completion import ChatCompletion, Choice
from app.chat.job import ChatJob
from app.chat.reply import completion_id, fingerprint, usage
from app.chat.voice import Voice
from app.runs.live import Heard, LiveRun, Told
from app.stream import sse

_DONE = b"data: [DONE]\n\n"


async def frames(live: LiveRun, job: ChatJob, model: str, quiet: float) -> AsyncGenerator[bytes | None]:
    """Everything of a run as chunks: reasoning and answer as the model writes them; None for silence.

    `model` is the name of the model that answers. Raises what the run raises.
    """
    chunks = Chunks(live, job, model)
    opened = False
    async for told in live.follow(quiet=quiet):
        if told is None:
            yield None
            continue
        if not opened:
            opened = True
            for chunk in chunks.opening():
                yield sse(chunk)
        for chunk in chunks.word(told) if isinstance(told, Heard) else chunks.step(told):
            yield sse(chunk)
    completion = ChatCompletion.model_validate(await live.ended())
    if not opened:
        for chunk in chunks.opening():
            yield sse(chunk)
    for chunk in chunks.closing(completion):
        yield sse(chunk)
    yield _DONE


def failed(body: dict[str, Any]) -> bytes:
    """What goes wrong in mid-stream. Nothing follows it, so that nobody takes it for a whole reply."""
    return sse(body)


class Chunks:
    """Makes the chunks of one reply."""

    def __init__(self, live: LiveRun, job: ChatJob, model: str) -> None:
        self._live = live
        self._request = job.request
        self._voices = [Voice(formed=job.reading.as_json) for _ in job.reading.orders]
        self._head = {
            "id": completion_id(live.id),
            "object": "chat.completion.chunk",
            "created": int(live.created_at),
            "model": job.request.model,
            "system_fingerprint": fingerprint(model),
        }

    def opening(self) -> Iterator[dict[str, Any]]:
        """Who speaks, for each choice."""
        for number in range(len(self._voices)):
            yield self._chunk(number, {"role": "assistant", "content": ""})

    def word(self, heard: Heard) -> Iterator[dict[str, Any]]:
        """What is being written."""
        reasoning, content = self._voices[heard.choice].hear(heard.delta)
        if reasoning:
            yield self._chunk(heard.choice, _reasoning(reasoning))
        if content:
            yield self._chunk(heard.choice, {"content": content})

    def step(self, told: Told) -> Iterator[dict[str, Any]]:
        """What happened: in words, and as it is if that was asked for."""
        if words := self._voices[told.choice].tell(told.event):
            yield self._chunk(told.choice, _reasoning(words))
        if self._request.secondlook.steps:
            yield {**self._chunk(told.choice, {}), "secondlook": {"step": told.data}}

    def closing(self, completion: ChatCompletion) -> Iterator[dict[str, Any]]:
        """What was answered, why it ended, our report, and the bill if it was asked for."""
        for choice in completion.choices:
            yield from self._rest(choice)
        last = len(completion.choices) - 1
        for choice in completion.choices:
            chunk = self._chunk(choice.index, {}, choice.finish_reason)
            report = {"secondlook": completion.secondlook.model_dump(mode="json")} if choice.index == last else {}
            yield {**chunk, **report}
        if self._wants_usage:
            yield {**self._head, "choices": [], "usage": completion.usage.model_dump()}

    def _rest(self, choice: Choice) -> Iterator[dict[str, Any]]:
        """What was not told of an answer while it was written."""
        content, voice = choice.message.content, self._voices[choice.index]
        if content is None:
            yield self._chunk(choice.index, {"refusal": choice.message.refusal})
        elif (rest := voice.close(content)) or not voice.content:
            yield self._chunk(choice.index, {"content": rest})

    def _chunk(self, number: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self._head, "choices": [choice], **self._usage()}

    def _usage(self) -> dict[str, Any]:
        """The bill so far in every chunk, or its place, as the stream's options say."""
        options = self._request.stream_options
        if options and options.continuous_usage_stats:
            return {"usage": usage(told.event for told in self._live.events).model_dump()}
        return {"usage": None} if self._wants_usage else {}

    @property
    def _wants_usage(self) -> bool:
        options = self._request.stream_options
        return bool(options and options.include_usage)


def _reasoning(words: str) -> dict[str, str]:
    """Both names are in use."""
    return {"reasoning": words, "reasoning_content": words}
