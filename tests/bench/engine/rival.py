"""Self-consistency as the package its_hub does it, in an environment of its own: reads jobs, prints what happened.

A job is a line of JSON: {"endpoint", "model", "content", "samples", "max_tokens"}. So is a result:
{"seconds", "chosen", "texts", "prompt_tokens", "completion_tokens"}. Everything not named here is its_hub's default;
but a reply may take as long as it takes: the five minutes after which aiohttp gives up are too few on a busy machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
from time import perf_counter
from typing import Any

import aiohttp
from its_hub import OpenAICompatibleLanguageModel, SelfConsistency
from its_hub.api import ChatMessage


async def vote(job: dict[str, Any]) -> dict[str, Any]:
    """Draw the samples and let them vote."""
    model = OpenAICompatibleLanguageModel(
        job["endpoint"], "none", job["model"], max_completion_tokens=job["max_tokens"]
    )
    async with model:
        began = perf_counter()
        messages = [ChatMessage(role="user", content=job["content"])]
        found = await SelfConsistency().ainfer(model, messages, budget=job["samples"], return_response_only=False)
        seconds = perf_counter() - began
    return {
        "seconds": seconds,
        "chosen": found.the_one["content"],
        "texts": [response["content"] for response in found.responses],
        "prompt_tokens": found.usage.prompt_tokens,
        "completion_tokens": found.usage.completion_tokens,
    }


async def main() -> None:
    """Do all jobs, one after another."""
    aiohttp.client.DEFAULT_TIMEOUT = aiohttp.ClientTimeout(total=None)  # type: ignore[misc]  # its_hub sets none
    for line in sys.stdin:
        print(json.dumps(await vote(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
