"""The same votes on videos that the model knows: its_hub's answers against ours, frames sent as pictures."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from agents.demo.questions import DemoQuestion
from agents.parsing.answers import parse_answer
from agents.prompts.questions import ask as worded
from agents.prompts.questions import frame_label
from tests.bench.engine.claim import Claim
from tests.bench.engine.gateway import Gateway, ask
from tests.bench.engine.rivals import votes
from tests.bench.engine.voting import FRAMES, STRATEGY, job
from tests.bench.scaling import posed
from tests.vllm.server import Server
from tests.vllm.service import asking
from tests.vllm.spent import measured
from tools.video.sampling import Span, uniform
from tools.video.video import Video

_SIDE = 84  # pixels, as the demo model sees
_MIB = 1024 * 1024


async def measure(server: Server, folder: Path, questions: Sequence[tuple[Path, DemoQuestion]]) -> list[Claim]:
    """Accuracy of both, how often they agree, and what they sent. its_hub is given frames cut by us: it cuts none."""
    jobs = [job(server, _content(video, question)) for video, question in questions]
    with measured(server) as theirs:
        found = await asyncio.to_thread(votes, jobs)
    chosen = [_shown(question, vote.chosen) for (_, question), vote in zip(questions, found, strict=True)]
    answers, seconds = [], 0.0
    gateway = Gateway(f"openai:{server.root}/v1", questions[0][0].parent, folder)
    gateway.start()
    try:
        await asyncio.to_thread(gateway.wait)
        async with gateway.client() as client:
            with measured(server) as ours:
                began = perf_counter()
                for video, question in questions:
                    answers.append((await ask(client, asking(video, question, STRATEGY)))["answer"])
                seconds = perf_counter() - began
    finally:
        gateway.stop()
    truth = [question.answer for _, question in questions]
    return [
        Claim("demo videos: its_hub is right", _share(chosen, truth)),
        Claim("demo videos: ours is right", _share(answers, truth)),
        Claim("demo videos: both say the same", _share(answers, chosen)),
        Claim("demo videos: its_hub sends", theirs.bytes_received / _MIB, " MiB"),
        Claim("demo videos: ours sends", ours.bytes_received / _MIB, " MiB"),
        Claim("demo videos: its_hub has prefilled", theirs.prefilled, " tokens"),
        Claim("demo videos: ours has prefilled", ours.prefilled, " tokens"),
        Claim("demo videos: less wall time", sum(vote.seconds for vote in found) / seconds, "×"),
    ]


def _content(video_path: Path, question: DemoQuestion) -> list[dict[str, Any]]:
    """The prompt that the service makes, as a caller of its_hub would have to."""
    video = Video.open(video_path)
    look = video.get_frames(uniform(Span(0.0, video.metadata.duration), FRAMES), _SIDE)
    parts: list[dict[str, Any]] = []
    for frame in look.frames:
        file = frame.file()
        address = f"data:{file.kind};base64,{b64encode(file.data).decode()}"
        parts += [
            {"type": "text", "text": frame_label(frame.time)},
            {"type": "image_url", "image_url": {"url": address}},
        ]
    return [*parts, {"type": "text", "text": f"\n{worded(posed(question), 'think', 'text')}"}]


def _shown(question: DemoQuestion, reply: str) -> str | None:
    """The answer in a reply, read as the service reads it."""
    asked = posed(question)
    value = parse_answer(asked, reply)
    return None if value is None else asked.display(value)


def _share(some: Sequence[str | None], others: Sequence[str | None]) -> float:
    return sum(one == other for one, other in zip(some, others, strict=True)) / len(some)
