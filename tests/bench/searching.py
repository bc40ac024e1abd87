"""What searching with tools is worth, on videos of the test range that the demo model never saw.

    python -m tests.bench.searching [--videos N] [--questions N] [--keep FOLDER] [--json FILE]

Half-hour videos: what is seen once, and what is said when something is seen, which the .srt beside it tells.
Signed videos: a digit that only a closer look can read. Ordinary short videos: that nothing is lost there. What an
index costs is told apart. With `--keep`, videos that were asked about before are not asked about again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from agents.captions import CaptionConfig
from agents.core.question import Question
from agents.core.run import Run
from agents.core.runner import run_strategy
from agents.demo.encoder import encode_video, subtitles_srt
from agents.demo.generator import TEST_FROM, DemoVideo, make_signed_video, make_video
from agents.demo.questions import KINDS, NEEDLE, SAID, SIGN, DemoQuestion, ask_about
from agents.engines.base import Engine
from agents.engines.registry import open_engine
from agents.presets import Catalogue
from tests.bench.engine.claim import Claim
from tests.bench.engine.claim import table as claims
from tests.bench.scaling import posed, table
from tests.bench.statistics import Result, Summary, summarise
from tools.index.entries import IndexEntry
from tools.index.index import Index
from tools.video.subtitles import parse_subtitles
from tools.video.video import Video

_MINUTES = 30.0
_LONG, _SIGNED, _SHORT = TEST_FROM + 5000, TEST_FROM + 6000, TEST_FROM + 7000
_HOW = CaptionConfig(clip_seconds=5.0, frames=5, tokens=48)

Strategy = dict[str, Any]
_DIRECT: Strategy = {"name": "direct", "frames": 64}
_SEEK: Strategy = {
    "name": "planner", "tools": ["search_clips"], "frames": 4, "shown": False, "hits": 3, "part": 0.8, "proof": 4,
    "review": True, "max_tokens": 32,
}  # fmt: skip
_GLANCE: Strategy = {"name": "direct", "frames": 16}
_ZOOM: Strategy = {"name": "planner", "tools": ["zoom"], "frames": 16, "review": True, "max_tokens": 32}
_AUTO: Strategy = {"name": "auto"}
_PLAIN: Strategy = {"name": "planner", "frames": 32, "enough": 0.9, "max_tokens": 32}


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of video: how it is made, what is asked about it, and the programs that are asked."""

    name: str
    first: int
    kinds: tuple[tuple[str, ...], ...]
    programs: dict[str, Strategy]
    indexed: bool = False
    each: int = 4  # questions of a kind about one video

    def video(self, seed: int) -> DemoVideo:
        """The video of a seed."""
        if self.indexed:
            return make_video(seed, _MINUTES)
        return make_signed_video(seed) if self.first == _SIGNED else make_video(seed)


PARTS = (
    Part("long", _LONG, (NEEDLE, SAID), {"direct": _DIRECT, "planner": _SEEK}, indexed=True),
    Part("signed", _SIGNED, (SIGN,), {"direct": _GLANCE, "planner": _ZOOM}, each=1),
    Part("short", _SHORT, (KINDS,), {"auto": _AUTO, "planner": _PLAIN}),
)


def main() -> None:
    options = _options()
    os.environ["OMP_NUM_THREADS"] = "1"  # a process for each core beats one process with many threads
    wanted = {"long": options.videos, "signed": options.questions, "short": options.questions // 4}
    videos = [(part.name, part.first + number) for part in PARTS for number in range(wanted[part.name])]
    rows: list[Result] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(options.workers, get_context("spawn")) as pool,
    ):
        kept = options.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        for number, found in enumerate(pool.map(partial(measure, kept, options.engine), videos), 1):
            rows += found
            print(f"{number} of {len(videos)} videos", flush=True)
    report(rows, options.json)


def measure(kept: Path, address: str, video: tuple[str, int]) -> list[Result]:
    """Ask all questions about one video with all programs of its part, unless that was done before."""
    name, seed = video
    path = kept / f"{name}-{seed}.json"
    if path.exists():
        return [Result(**row) for row in json.loads(path.read_text())]
    rows = asyncio.run(_measure(next(part for part in PARTS if part.name == name), seed, address))
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([asdict(row) for row in rows]))
    fresh.replace(path)
    return rows


async def _measure(part: Part, seed: int, address: str) -> list[Result]:
    engine, catalogue = open_engine(address), Catalogue.load()
    generated = part.video(seed)
    rows: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{seed}.mp4")
        encode_video(generated, path)
        video = Video.open(path)
        index = Index(video.span.end)
        if part.indexed:
            rows.append(await _indexed(video, index, generated, engine))
        for question in _questions(part, generated):
            for name, strategy in part.programs.items():
                run = Run(posed(question), video, engine, seed=seed, index=lambda: index, caption_config=_HOW)
                began = perf_counter()
                outcome = await run_strategy(catalogue.resolve(dict(strategy)), run)
                value = outcome.answer.value
                correct = value is not None and run.display(value) == question.answer
                kind = "needle" if question.kind in NEEDLE and part.indexed else question.kind
                kind = "short" if part.name == "short" else kind
                row = _row(run, seed, kind, name, perf_counter() - began)
                rows.append(Result(**{**row, "correct": correct, "confidence": outcome.answer.confidence}))
    await engine.close()
    return rows


async def _indexed(video: Video, index: Index, generated: DemoVideo, engine: Engine) -> Result:
    """Caption every clip, and read what the narrator says. Returns what that took."""
    cues = parse_subtitles(subtitles_srt(generated), video.span.end)
    index.replace_subtitles(
        [IndexEntry(f"s:{n}", cue.start, cue.end, cue.text, "subtitle", 0.0) for n, cue in enumerate(cues)]
    )
    run = Run(Question(text="What is seen?", kind="text"), video, engine, index=lambda: index, caption_config=_HOW)
    began = perf_counter()
    lines = await run.captions.write()
    row = _row(run, generated.seed, "index", f"{len(lines)} captions", perf_counter() - began)
    return Result(**{**row, "correct": not index.failures(), "confidence": None})


def _row(run: Run, seed: int, kind: str, name: str, seconds: float) -> dict[str, Any]:
    ledger = run.usage
    return {
        "seed": seed,
        "kind": kind,
        "curve": kind,
        "setting": name,
        "frames": ledger.frames_viewed,
        "tokens": ledger.prompt_tokens + ledger.completion_tokens,
        "cached": ledger.cached_tokens,
        "calls": ledger.calls,
        "seconds": seconds,
    }


def _questions(part: Part, video: DemoVideo) -> Iterator[DemoQuestion]:
    for kinds in part.kinds:
        yield from ask_about(video, part.each, kinds)


def report(rows: Sequence[Result], path: Path | None) -> None:
    """Print what was found, and how it compares with what was hoped for."""
    asked = [row for row in rows if row.kind != "index"]
    found = {(each.curve, each.setting): each for each in summarise(asked)}
    print(
        f"\n{table(list(found.values()))}\n\n{claims(goals(found))}\n\n{_bill([r for r in rows if r.kind == 'index'])}"
    )
    if path:
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def goals(found: dict[tuple[str, str], Summary]) -> list[Claim]:
    """What was hoped for, for the parts that were asked."""
    told: list[Claim] = []
    for kind, least in (("needle", 0.7), ("said", 0.8)):
        direct, planner = found.get((kind, "direct")), found.get((kind, "planner"))
        if direct and planner:
            told.append(Claim(f"{kind}: direct on 64 frames is right", direct.accuracy))
            told.append(Claim(f"{kind}: planner is right", planner.accuracy, "", least))
            told.append(
                Claim(f"{kind}: its tokens for those of direct", planner.tokens / direct.tokens, "×", 0.5, "most")
            )
    glance, zoom = found.get(("sign", "direct")), found.get(("sign", "planner"))
    if glance and zoom:
        told.append(Claim("sign: planner with zoom above direct", zoom.accuracy - glance.accuracy, "", 0.3))
    auto, plain = found.get(("short", "auto")), found.get(("short", "planner"))
    if auto and plain:
        told.append(Claim("short videos: planner against auto", plain.accuracy - auto.accuracy, "", -0.02))
    return told


def _bill(rows: Sequence[Result]) -> str:
    if not rows:
        return ""
    tokens, seconds = (sum(getattr(row, name) for row in rows) / len(rows) for name in ("tokens", "seconds"))
    return f"An index of a video: {tokens:.0f} tokens, {seconds:.0f} s, {rows[0].setting}; {len(rows)} videos."


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=30, help="half-hour videos, with up to 8 questions each")
    parser.add_argument("--questions", type=int, default=120, help="about signs, and about short videos")
    parser.add_argument("--engine", default="demo:")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="folder for results of each video, to go on after a break")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
