"""Eight samples and a vote: our `self_consistency` against that of its_hub, on one server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from agents.core.question import Question
from agents.prompts.questions import ask as worded
from tests.bench.engine.claim import Claim
from tests.bench.engine.gateway import Gateway, ask
from tests.bench.engine.rivals import votes
from tests.bench.engine.video_server import VideoServer, serving
from tests.vllm.server import Server
from tests.vllm.spent import Spent, measured

SAMPLES = 8
FRAMES = 32
MAX_TOKENS = 64
STRATEGY = {
    "name": "self_consistency",
    "samples": SAMPLES,
    "frames": FRAMES,
    "diversity": "temperature",  # as its_hub does
    "temperature": 1.0,  # what the server takes where its_hub says nothing
    "stop": "fixed",  # all are drawn, as its_hub does; we would stop once the leader cannot be caught
    "max_tokens": MAX_TOKENS,
}
QUESTIONS = (
    {"question": "What moves from left to right?", "options": ["a cloth", "a wheel", "a bird", "nothing"]},
    {"question": "What lies at the bottom?", "options": ["a table", "a cloth", "a road", "nothing"]},
)
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class VoteResult:
    """What one question took. `moved`: bytes of videos and requests sent. `decodes`: how often the video is decoded."""

    seconds: float
    moved: int
    decodes: int
    spent: Spent


async def measure(server: Server, video_path: Path, warmer: Path, folder: Path) -> list[Claim]:
    """Two questions about one video by a model that takes videos; both sides have asked about another video before.

    its_hub sends the video's address, which vLLM fetches; to the service it is uploaded, once, and that is counted.
    """
    rivals, own = [], []
    gateway = Gateway(f"openai:{server.root}/v1", video_path.parent, folder)
    gateway.start()
    try:
        await asyncio.to_thread(gateway.wait)
        with serving(video_path.parent) as videos:
            async with gateway.client() as client:
                for path, question in ((warmer, QUESTIONS[0]), *((video_path, question) for question in QUESTIONS)):
                    rivals.append(await _theirs(server, videos, path, question))
                    own.append(await _ours(server, client, path, question))
    finally:
        gateway.stop()
    (_, *theirs), (_, *ours) = rivals, own
    return [*_compared("first question", theirs[0], ours[0], goals=True), *_compared("next one", theirs[1], ours[1])]


async def _theirs(server: Server, videos: VideoServer, video_path: Path, question: dict[str, Any]) -> VoteResult:
    address = f"{videos.root}/{video_path.name}"
    content: list[dict[str, Any]] = [
        {"type": "video_url", "video_url": {"url": address}},
        {"type": "text", "text": _words(question)},
    ]
    before = videos.fetched
    with measured(server) as spent:
        (vote,) = await asyncio.to_thread(votes, [job(server, content)])
    fetched = videos.fetched - before
    return VoteResult(vote.seconds, fetched * video_path.stat().st_size + spent.bytes_received, fetched, spent)


async def _ours(server: Server, client: httpx.AsyncClient, video_path: Path, question: dict[str, Any]) -> VoteResult:
    """The video is uploaded with the first question about it."""
    began, uploaded = perf_counter(), 0
    with measured(server) as spent:
        if question is QUESTIONS[0]:
            uploaded = video_path.stat().st_size
            with video_path.open("rb") as data:
                stored = await client.post("/v1/files", files={"file": data})
        else:
            stored = await client.get("/v1/files")
        answer = await ask(client, {"video": _newest(stored), "strategy": STRATEGY, "seed": 7, **question})
        seconds = perf_counter() - began
    trace = (await client.get(f"/v1/runs/{answer['id']}")).json()["events"]
    looks = sum(each["event"]["event"] == "looked" for each in trace)
    return VoteResult(seconds, uploaded + spent.bytes_received, looks, spent)


def _newest(response: httpx.Response) -> str:
    """The id of the file that was stored, or of the one stored last."""
    response.raise_for_status()
    found = response.json()
    stored = found["data"][0] if "data" in found else found
    return str(stored["id"])


def _words(question: dict[str, Any]) -> str:
    """What the service asks, so that both ask the same."""
    return worded(Question(text=question["question"], options=tuple(question["options"]), kind="choice"), "think")


def job(server: Server, content: list[dict[str, Any]]) -> dict[str, Any]:
    """What its_hub is asked to do."""
    asked = {"endpoint": server.url, "model": server.name, "content": content}
    return {**asked, "samples": SAMPLES, "max_tokens": MAX_TOKENS}


def _compared(which: str, theirs: VoteResult, ours: VoteResult, *, goals: bool = False) -> list[Claim]:
    """The ratios, and what they are made of."""
    return [
        Claim(f"{which}: its_hub", theirs.seconds, " s"),
        Claim(f"{which}: ours", ours.seconds, " s"),
        Claim(f"{which}: less wall time", theirs.seconds / ours.seconds, "×", 3 if goals else None),
        Claim(f"{which}: its_hub sends", theirs.moved / _MIB, " MiB"),
        Claim(f"{which}: ours sends", ours.moved / _MIB, " MiB"),
        Claim(f"{which}: its_hub decodes", theirs.decodes, " videos"),
        Claim(f"{which}: ours decodes", ours.decodes, " videos"),
        Claim(f"{which}: fewer decodes", theirs.decodes / max(ours.decodes, 1), "×", 8 if goals else None),
        Claim(f"{which}: its_hub has prefilled", theirs.spent.prefilled, " tokens"),
        Claim(f"{which}: ours has prefilled", ours.spent.prefilled, " tokens"),
    ]
