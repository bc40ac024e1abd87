"""The same weights, videos and prompts give the same answers in process and on vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.model_client import compose_prompt
from agents.core.question import Question
from agents.demo.questions import DemoQuestion
from agents.engines.base import Engine, Picture, Prompt, Sampling
from agents.engines.registry import open_engine
from agents.prompts.questions import AnswerStyle, ask
from tests.bench.scaling import posed
from tests.vllm.server import Server
from tests.vllm.service import engine_url
from tools.video.sampling import Span, grid
from tools.video.video import Video

pytestmark = [pytest.mark.vllm, pytest.mark.anyio]

FRAMES = 16
CLOSE = 0.02  # of an option's probability


async def test_a_hundred_prompts_get_the_same_words_and_probabilities(
    demo: Server, videos: list[tuple[Path, list[DemoQuestion]]]
) -> None:
    here = open_engine("demo:")
    there = open_engine(engine_url(demo))
    await there.probe()
    gaps: list[float] = []
    differing: list[tuple[str, str]] = []
    for path, questions in videos:
        video = Video.open(path)
        for question in map(posed, questions):
            gaps.append(await _gap(here, there, video, question))
            words = [await _words(engine, video, question) for engine in (here, there)]
            if len(set(words)) > 1:
                differing.append((words[0], words[1]))
    await here.close()
    await there.close()
    assert len(gaps) >= 100
    assert not differing
    assert max(gaps) <= CLOSE, sorted(gaps)[-5:]


async def _gap(here: Engine, there: Engine, video: Video, question: Question) -> float:
    """The largest difference between the probabilities of an option."""
    sampling = Sampling(max_tokens=1, choices=question.options or question.values)
    prompt = _prompt(video, question, "direct", here.side)
    known = [(await engine.generate(prompt, sampling, 1)).replies[0].probabilities for engine in (here, there)]
    one, other = known
    assert one is not None and other is not None
    return max(abs(one[choice] - other[choice]) for choice in sampling.choices)


async def _words(engine: Engine, video: Video, question: Question) -> str:
    generation = await engine.generate(_prompt(video, question, "think", engine.side), Sampling(max_tokens=64), 1)
    return generation.replies[0].text


def _prompt(video: Video, question: Question, style: AnswerStyle, side: int) -> Prompt:
    look = video.get_frames(grid(Span(0.0, video.metadata.duration), FRAMES), side)
    pictures = [Picture(frame, f"{video.id}:{frame.time}:{side}") for frame in look.frames]
    return compose_prompt(pictures, ask(question, style, "text"))
