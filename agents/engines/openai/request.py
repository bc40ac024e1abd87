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

_ALTERNATIVES = 20  # the most that OpenAI allows, and vLLM unless told otherwise


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A question to a model whose abilities are known. `tenant` is whose frames and prompts these are,
    `media` all pictures and clips in the turns.

    `after` replies have been drawn before; `weighing` wants only the first token's alternatives.
    `streaming` wants the reply in chunks as it is written, and the bill at its end.
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
        """A question with these messages."""
        naming = tenant if "reuse" in to.capabilities else None
        turns = request_messages(prompt, to.profile, to.packing, naming)
        return cls(to, turns, tuple(medium for turn in turns for medium in turn.media), sampling, tenant, n)

    @property
    def may_think(self) -> bool:
        """Whether the model may think before it speaks, in words that only their end marks as a thought."""
        thinking = self.to.profile.thinking
        return bool(thinking.parser) and (self.sampling.think or not thinking.off)

    def body(self, held: frozenset[str] = frozenset()) -> bytes:
        """The JSON body; encodes the pictures, but for those that the server holds."""
        vllm = self.to.dialect == "vllm"
        sampling = self.sampling
        fields: Json = {
            "model": self.to.card.id,
            "messages": [turn.body(held) for turn in self.turns],
            "n": self.n,
            **({} if sampling.seed is None or sampling.beam else {"seed": sampling.seed + self.after}),
            **(self._weighing() if self.weighing else self._writing()),
            **(self._held_to() if vllm and sampling.choices else {}),
            **(_schema_format(sampling) if sampling.schema is not None else {}),
            **(_tool_definitions(sampling) if sampling.tools else {}),
            **(self._for_vllm() if vllm else {}),
            **({"stream": True, "stream_options": {"include_usage": True}} if self.streaming else {}),
        }
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()

    def _weighing(self) -> Json:
        """One token of the model's own distribution: neither flattened nor sharpened nor cut."""
        return {"max_tokens": 1, "temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": _ALTERNATIVES}

    def _writing(self) -> Json:
        sampling = self.sampling
        if sampling.beam:  # it knows neither temperature nor stops nor log-probabilities
            return {"max_tokens": sampling.max_tokens, "temperature": 0.0, "use_beam_search": True}
        return {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **({"stop": list(sampling.stop)} if sampling.stop else {}),
            **({"logprobs": True} if "logprobs" in self.to.capabilities else {}),
            # Not OpenAI's: others may refuse it, so it is sent only where it is known.
            **({"top_k": sampling.top_k} if sampling.top_k > 0 and self.to.dialect == "vllm" else {}),
        }

    def _held_to(self) -> Json:
        """Hold the reply to the choices, in any of their spellings."""
        choices = self.sampling.choices
        ways = dict.fromkeys(way for choice in choices for way in choice_spellings(choice, choices))
        return {"structured_outputs": {"choice": list(ways)}}

    def _for_vllm(self) -> Json:
        thinking = self.to.profile.thinking
        switch = thinking.on if self.sampling.think else thinking.off
        clips = [medium.shown for medium in self.media if isinstance(medium.shown, FrameClip)]
        clock = clips[0].clock(absolute=self.to.profile.times == "encoded") if clips else None
        processor = self.to.profile.processor if self.to.trusting and self.media else None
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
    """Asks a server. `sent` is what it has been sent by all who ask it."""

    def __init__(self, server: ServerClient, sent: MediaCache) -> None:
        self._server = server
        self._sent = sent

    async def ask(self, request: CompletionRequest, hear: OnText | None = None) -> Completion:
        """The answer; its only reply is told to `hear` while it comes. Raises EngineError.

        What the server has lost meanwhile is sent again, once, unless a word of the reply has been told.

        vLLM's two halves disagree on what they hold after a request that one of them turned away, as too long or
        cancelled. The next one then fails with status 500 before any work is done, and vLLM forgets what it named.
        """
        told = False

        def tell(piece: str) -> None:
            nonlocal told
            told = True
            assert hear is not None
            hear(piece)

        listener = None if hear is None else tell
        names = [medium.name for medium in request.media if medium.name]
        held = self._sent.contained(names)
        try:
            answer = await self._post(request, held, listener)
        except ServerStatusError as problem:
            if told or not ((held and is_cache_miss(problem.words)) or (names and problem.status == _BROKEN)):
                raise
            self._sent.forget(names)
            self._server.watch.request_failed("retried")
            answer = await self._post(request, frozenset(), listener)
        self._sent.add(names)
        return answer

    async def _body(self, request: CompletionRequest, held: frozenset[str]) -> bytes:
        """Off the event loop where frames become files and base64."""
        if all(medium.name in held for medium in request.media):
            return request.body(held)
        return await asyncio.to_thread(request.body, held)

    async def _post(self, request: CompletionRequest, held: frozenset[str], hear: OnText | None) -> Completion:
        if hear is not None:
            request = replace(request, streaming=True)
        body = await self._body(request, held)
        if hear is None:
            return parse_completion(await self._server.post(_PATH, body))
        answer = StreamedCompletion(hear, silent=request.may_think)
        async with aclosing(self._server.follow(_PATH, body)) as chunks:
            async for chunk in chunks:
                answer.add(chunk)
        if not answer.is_done:
            raise EngineError("The model server ended its reply without saying why, or what it cost.")
        return parse_completion(answer.completion)
