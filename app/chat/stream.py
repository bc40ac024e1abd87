"""Streams a run as OpenAI's chat completion chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

from agents.core.trace import Delta, Event, ModelEvent
from app.chat.request import ChatJob
from app.chat.response import (
    ChatChoice,
    ChatCompletion,
    completion_id,
    describe_call,
    describe_event,
    system_fingerprint,
    usage_of,
)
from app.runs.run import ActiveRun, RunDelta, RunEvent
from app.sse import encode_event


class StreamedChoice:
    """Turns events and deltas into one growing text, equal to `reasoning_text` at the end.

    Events that arrive while a call is being streamed are held back until that call ends. `content` is the answer
    text sent so far. With `formed`, the answer is formatted first, so none of it is sent early.
    """

    def __init__(self, *, formed: bool) -> None:
        self.content = ""
        self._formed = formed
        self._call: int | None = None
        self._reply = self._said = self._waiting = ""

    def on_delta(self, delta: Delta) -> tuple[str, str]:
        """The next words of the reasoning and of the answer; each may be none."""
        if delta.part == "answer":
            words = "" if self._formed else delta.text
            self.content += words
            return "", words
        before = "" if delta.call == self._call else self._give_up()
        self._call = delta.call
        self._reply += delta.text
        said, self._said = self._said, describe_call(delta.purpose, self._reply)
        return before + self._said[len(said) :], ""

    def on_event(self, event: Event) -> str:
        """The next words of the reasoning. Of a call that was heard, only what is missing."""
        words = describe_event(event)
        if isinstance(event, ModelEvent) and event.call == self._call:
            rest = words[len(self._said) :] + self._waiting
            self._forget()
            return rest
        if self._said:
            self._waiting += words
            return ""
        return words

    def finish(self, content: str) -> str:
        """The rest of the answer. One that ran out of budget stays cut off where it was."""
        return content[len(self.content) :] if content.startswith(self.content) else ""

    def _give_up(self) -> str:
        """Close the text of a call that was not finished."""
        rest = f"\n{self._waiting}" if self._said else ""
        self._forget()
        return rest

    def _forget(self) -> None:
        self._call = None
        self._reply = self._said = self._waiting = ""


_DONE = b"data: [DONE]\n\n"


async def stream_chat(live: ActiveRun, job: ChatJob, model: str, quiet: float) -> AsyncGenerator[bytes | None]:
    """Everything of a run as chunks: reasoning and answer as the model writes them; None for silence.

    `model` is the name of the model that answers. Raises what the run raises.
    """
    chunks = ChunkBuilder(live, job, model)
    opened = False
    async for told in live.follow(quiet=quiet):
        if told is None:
            yield None
            continue
        if not opened:
            opened = True
            for chunk in chunks.opening():
                yield encode_event(chunk)
        for chunk in chunks.on_delta(told) if isinstance(told, RunDelta) else chunks.on_event(told):
            yield encode_event(chunk)
    completion = ChatCompletion.model_validate(await live.result())
    if not opened:
        for chunk in chunks.opening():
            yield encode_event(chunk)
    for chunk in chunks.closing(completion):
        yield encode_event(chunk)
    yield _DONE


def encode_error(body: dict[str, Any]) -> bytes:
    """Encode an error in mid-stream. No [DONE] follows, so that clients do not take the reply for complete."""
    return encode_event(body)


class ChunkBuilder:
    """Makes the chunks of one completion."""

    def __init__(self, live: ActiveRun, job: ChatJob, model: str) -> None:
        self._live = live
        self._request = job.request
        self._voices = [StreamedChoice(formed=job.parsed.as_json) for _ in job.parsed.specs]
        self._head = {
            "id": completion_id(live.id),
            "object": "chat.completion.chunk",
            "created": int(live.created_at),
            "model": job.request.model,
            "system_fingerprint": system_fingerprint(model),
        }

    def opening(self) -> Iterator[dict[str, Any]]:
        """The role, for each choice."""
        for number in range(len(self._voices)):
            yield self._chunk(number, {"role": "assistant", "content": ""})

    def on_delta(self, heard: RunDelta) -> Iterator[dict[str, Any]]:
        """A delta, as a chunk."""
        reasoning, content = self._voices[heard.choice].on_delta(heard.delta)
        if reasoning:
            yield self._chunk(heard.choice, _reasoning(reasoning))
        if content:
            yield self._chunk(heard.choice, {"content": content})

    def on_event(self, told: RunEvent) -> Iterator[dict[str, Any]]:
        """An event, as reasoning text, and as it is if that was asked for."""
        if words := self._voices[told.choice].on_event(told.event):
            yield self._chunk(told.choice, _reasoning(words))
        if self._request.secondlook.steps:
            yield {**self._chunk(told.choice, {}), "secondlook": {"step": told.data}}

    def closing(self, completion: ChatCompletion) -> Iterator[dict[str, Any]]:
        """The answer, the finish reason, our report, and usage if it was asked for."""
        for choice in completion.choices:
            yield from self._rest(choice)
        last = len(completion.choices) - 1
        for choice in completion.choices:
            chunk = self._chunk(choice.index, {}, choice.finish_reason)
            report = {"secondlook": completion.secondlook.model_dump(mode="json")} if choice.index == last else {}
            yield {**chunk, **report}
        if self._wants_usage:
            yield {**self._head, "choices": [], "usage": completion.usage.model_dump()}

    def _rest(self, choice: ChatChoice) -> Iterator[dict[str, Any]]:
        """The part of an answer that was not streamed."""
        content, voice = choice.message.content, self._voices[choice.index]
        if content is None:
            yield self._chunk(choice.index, {"refusal": choice.message.refusal})
        elif (rest := voice.finish(content)) or not voice.content:
            yield self._chunk(choice.index, {"content": rest})

    def _chunk(self, number: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": number, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self._head, "choices": [choice], **self._usage()}

    def _usage(self) -> dict[str, Any]:
        """Usage in a chunk, as the stream's options say."""
        options = self._request.stream_options
        if options and options.continuous_usage_stats:
            return {"usage": usage_of(told.event for told in self._live.events).model_dump()}
        return {"usage": None} if self._wants_usage else {}

    @property
    def _wants_usage(self) -> bool:
        options = self._request.stream_options
        return bool(options and options.include_usage)


def _reasoning(words: str) -> dict[str, str]:
    """Both names are in use."""
    return {"reasoning": words, "reasoning_content": words}
