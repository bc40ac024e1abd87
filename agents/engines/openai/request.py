"""Build the body of a chat completion request, send it, and send media again that the server has dropped."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from agents.engines.base import EngineError, OnText, Prompt, Sampling, choice_spellings
from agents.engines.openai.capabilities import ModelCapabilities
from agents.engines.openai.client import ServerClient, ServerStatusError, is_cache_miss
from agents.engines.openai.media import (
    CacheNamespace,
    FrameClip,
    MediaCache,
    RequestMedia,
    RequestMessage,
    request_messages,
)
from agents.engines.openai.response import Completion, StreamedCompletion, parse_completion

Json = dict[str, Any]

_ALTERNATIVES = 20  # the limit of OpenAI, and vLLM's default


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A chat completion request to a probed model. `media` are all images and clips in the turns.

    `after` is the number of replies drawn before, added to the seed; `weighing` asks only for the alternatives of the
    first token; `streaming` asks for chunks, and for the usage in the last one.
    """

    to: ModelCapabilities
    turns: tuple[RequestMessage, ...]
    media: tuple[RequestMedia, ...]
    sampling: Sampling
    tenant: CacheNamespace
    n: int = 1
    after: int = 0
    weighing: bool = False
    streaming: bool = False

    @classmethod
    def about(
        cls, prompt: Prompt, to: ModelCapabilities, sampling: Sampling, tenant: CacheNamespace, n: int = 1
    ) -> CompletionRequest:
        """A request with this prompt."""
        naming = tenant if "reuse" in to.capabilities else None
        turns = request_messages(prompt, to.profile, to.packing, naming)
        return cls(to, turns, tuple(medium for turn in turns for medium in turn.media), sampling, tenant, n)

    @property
    def may_think(self) -> bool:
        """Whether the reply may begin with reasoning that has no opening tag."""
        thinking = self.to.profile.thinking
        return bool(thinking.parser) and (self.sampling.think or not thinking.off)

    def body(self, held: frozenset[str] = frozenset()) -> bytes:
        """The JSON body; media in `held` are named, all others encoded."""
        vllm = self.to.dialect == "vllm"
        sampling = self.sampling
        fields: Json = {
            "model": self.to.served.id,
            "messages": [turn.body(held) for turn in self.turns],
            "n": self.n,
            **({} if sampling.seed is None or sampling.beam else {"seed": sampling.seed + self.after}),
            **(self._weighing() if self.weighing else self._writing()),
            **(self._guided_choice() if vllm and sampling.choices else {}),
            **(_schema_format(sampling) if sampling.schema is not None else {}),
            **(_tool_definitions(sampling) if sampling.tools else {}),
            **(self._vllm_fields() if vllm else {}),
            **({"stream": True, "stream_options": {"include_usage": True}} if self.streaming else {}),
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    def _weighing(self) -> Json:
        """One token of the model's own distribution: temperature 1, nothing cut off."""
        return {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": _ALTERNATIVES}

    def _writing(self) -> Json:
        sampling = self.sampling
        if sampling.beam:  # vLLM takes neither temperature nor stops nor log-probabilities with it
            return {"max_tokens": sampling.max_tokens, "temperature": 0.0, "use_beam_search": True}
        return {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"logprobs": True} if "logprobs" in self.to.capabilities else {}),
            # Not part of OpenAI's API: other servers may refuse it.
            **({"top_k": sampling.top_k} if sampling.top_k > 0 and self.to.dialect == "vllm" else {}),
        }

    def _guided_choice(self) -> Json:
        """Constrain the reply to the choices, in any of their spellings."""
        choices = self.sampling.choices
        ways = dict.fromkeys(way for choice in choices for way in choice_spellings(choice, choices))
        return {"structured_outputs": {"choice": list(ways)}}

    def _vllm_fields(self) -> Json:
        thinking = self.to.profile.thinking
        switch = thinking.on if self.sampling.think else thinking.off
        clips = [medium.shown for medium in self.media if isinstance(medium.shown, FrameClip)]
        clock = clips[0].clock(absolute=self.to.profile.times == "encoded") if clips else None
        processor = self.to.profile.processor if self.to.takes_processor_arguments and self.media else None
        return {
            **({"chat_template_kwargs": switch} if switch else {}),
            **({"media_io_kwargs": {"video": clock}} if clock else {}),
            **({"mm_processor_kwargs": processor} if processor else {}),
            **({"cache_salt": self.tenant.salt} if self.tenant.salt else {}),
        }


def _schema_format(sampling: Sampling) -> Json:
    shape = {"name": "reply", "strict": True, "schema": sampling.schema}
    return {"response_format": {"type": "json_schema", "json_schema": shape}}


def _tool_definitions(sampling: Sampling) -> Json:
    tools = [
        {"type": "function", "function": {"name": each.name, "description": each.description, "parameters": parameters}}
        for each in sampling.tools
        for parameters in [dict(each.parameters)]
    ]
    return {"tools": tools, "tool_choice": "auto"}


_BROKEN = 500
_PATH = "/chat/completions"


class CompletionsEndpoint:
    """Sends completion requests. `sent` holds the names of all media that the server has received."""

    def __init__(self, server: ServerClient, sent: MediaCache) -> None:
        self._server = server
        self._sent = sent

    async def ask(self, request: CompletionRequest, on_text: OnText | None = None) -> Completion:
        """Send a request; with `on_text`, stream its only reply. Raises EngineError.

        Media that the server has dropped are sent again, once, unless text has been streamed. This includes status
        500: the caches of vLLM's two processes differ after a request that was refused or cancelled, and the next
        request that names a frame fails before any work is done.
        """
        streamed = False

        def stream(piece: str) -> None:
            nonlocal streamed
            streamed = True
            assert on_text is not None
            on_text(piece)

        listener = None if on_text is None else stream
        names = [medium.name for medium in request.media if medium.name]
        held = self._sent.contained(names)
        try:
            answer = await self._post(request, held, listener)
        except ServerStatusError as problem:
            if streamed or not ((held and is_cache_miss(problem.words)) or (names and problem.status == _BROKEN)):
                raise
            self._sent.forget(names)
            self._server.observer.request_failed("retried")
            answer = await self._post(request, frozenset(), listener)
        self._sent.add(names)
        return answer

    async def _body(self, request: CompletionRequest, held: frozenset[str]) -> bytes:
        """Frames are encoded outside the event loop."""
        if all(medium.name in held for medium in request.media):
            return request.body(held)
        return await asyncio.to_thread(request.body, held)

    async def _post(self, request: CompletionRequest, held: frozenset[str], on_text: OnText | None) -> Completion:
        if on_text is not None:
            request = replace(request, streaming=True)
        body = await self._body(request, held)
        if on_text is None:
            return parse_completion(await self._server.post(_PATH, body))
        answer = StreamedCompletion(on_text, silent=request.may_think)
        async with aclosing(self._server.follow(_PATH, body)) as chunks:
            async for chunk in chunks:
                answer.add(chunk)
        if not answer.is_done:
            raise EngineError("The model server ended its reply without a finish reason or its usage.")
        return parse_completion(answer.completion)
