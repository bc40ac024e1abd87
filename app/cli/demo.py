"""The demo: generates a video, asks questions about it with several strategies, and compares with the ground truth."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.demo.encoder import encode_video
from agents.demo.generator import DemoVideo, make_video
from agents.demo.questions import DemoQuestion, ask_about
from agents.presets import Catalogue
from app.access.caller import LOCAL
from app.answers.preferences import AnswerSpec
from app.answers.schemas import AnswerReport, AnswerRequest, AnswerResponse
from app.answers.service import AnswerService
from app.cli.terminal import percent
from app.extras import Extras
from app.indexes.manager import IndexManager
from app.service import running_engine
from app.settings import Settings
from app.videos import VideoLoader
from tools.video.decoders import InProcessDecoder

DEMO_SEED = 1_000_000_007
"""A video of the test range: the demo model has never seen it."""
STRATEGIES = ("direct", "self_consistency", "sparse_to_dense", "until_confident", "auto")


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """One question answered in one way."""

    question: DemoQuestion
    strategy: str
    response: AnswerResponse

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.response.answer == self.question.answer


async def run_demo(settings: Settings, seed: int, count: int, keep: Path | None, console: Console) -> None:
    """Make the video, ask every question in every way, print a table for each question and one of all."""
    waiting = Console(stderr=True).status(f"Loading {settings.engine}")
    with tempfile.TemporaryDirectory() as folder, waiting:
        async with running_engine(settings) as engine:
            path = (keep or Path(folder) / "video.mp4").absolute()
            video = make_video(seed)
            waiting.update("Making a video")
            encode_video(video, path)
            _introduce(console, video, keep)
            inside = settings.model_copy(update={"video_dir": path.parent, "data_dir": Path(folder) / "data"})
            videos, indexes = VideoLoader(inside, InProcessDecoder(settings.decoder)), IndexManager(inside)
            answers = AnswerService(inside, Catalogue.load(), videos, engine, indexes, Extras())
            takes: list[DemoAnswer] = []
            for question in ask_about(video, count):
                for strategy in STRATEGIES:
                    waiting.update(f"{question.text} ({strategy})")
                    response = await answers.answer(AnswerSpec(_request(path, question, strategy)), LOCAL)
                    takes.append(DemoAnswer(question, strategy, response))
                console.print(_answers(takes[-len(STRATEGIES) :]))
            await indexes.aclose()
    console.print(_totals(takes))
    invitation = "Ask it yourself" if keep else "Keep the video, to ask it yourself"
    console.print(Text(f"{invitation}: {_command(keep, takes[0].question)}"), soft_wrap=True)


def _request(path: Path, question: DemoQuestion, strategy: str) -> AnswerRequest:
    kind = "choice" if question.options else "yesno"
    fields = {"question": question.text, "options": question.options, "kind": kind, "strategy": strategy}
    return AnswerRequest.model_validate({"video": {"path": str(path)}, **fields})


def _introduce(console: Console, video: DemoVideo, path: Path | None) -> None:
    where = f", kept at {path}" if path else ""
    console.print(
        f"A video of {video.duration:.1f} seconds: {len(video.shots)} shots of one coloured shape each{where}. "
        "The model has never seen it and knows only the frames that each strategy shows it. "
        "Sure: how probable its own words or votes make the answer.",
        highlight=False,
    )


def _command(video: Path | None, question: DemoQuestion) -> str:
    """What to type next, as it works from here: a virtual environment's programs need not be on the path."""
    beside = Path(sys.executable).with_name("secondlook")
    near = beside.is_relative_to(Path.cwd()) and which("secondlook") is None
    program = str(beside.relative_to(Path.cwd())) if near else "secondlook"
    if video is None:
        return f"{program} demo --keep video.mp4"
    options = "".join(f" --option {option}" for option in question.options) or " --kind yesno"
    return f"{program} ask {video} {json.dumps(question.text)}{options}"


def _answers(takes: Sequence[DemoAnswer]) -> Table:
    table = _table(takes[0].question.text, "strategy", "answer", "truth", "sure")
    for take in takes:
        said = Text(take.response.answer or "none", style="green" if take.right else "red")
        sure = percent(take.response.confidence)
        table.add_row(take.strategy, said, take.question.answer, sure, *_cost([take.response.report]))
    return table


def _totals(takes: Sequence[DemoAnswer]) -> Table:
    table = _table("All questions", "strategy", "right")
    for strategy in STRATEGIES:
        mine = [take for take in takes if take.strategy == strategy]
        right = f"{sum(take.right for take in mine)} of {len(mine)}"
        table.add_row(strategy, right, *_cost([take.response.report for take in mine]))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    table.columns[0].min_width = max(len(name) for name in STRATEGIES)
    for name in ("frames", "tokens", "calls", "seconds"):
        table.add_column(name, justify="right")
    return table


def _cost(reports: Sequence[AnswerReport]) -> tuple[str, ...]:
    return (
        str(sum(each.frames_viewed for each in reports)),
        str(sum(each.prompt_tokens + each.completion_tokens for each in reports)),
        str(sum(each.calls for each in reports)),
        f"{sum(each.seconds.total for each in reports):.2f}",
    )
