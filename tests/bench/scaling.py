"""Accuracy against cost of every program, on videos of the test range that the demo model never saw.

    python -m tests.bench.scaling [--seeds FROM:TO] [--questions N] [--json FILE] [--png FILE]

Every question goes the whole way: encoded video, decoder, run, engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from agents.core.question import Question
from agents.core.run import Run
from agents.core.runner import run_strategy
from agents.demo.encoder import encode_video
from agents.demo.generator import TEST_FROM, make_video
from agents.demo.questions import DemoQuestion, ask_about
from agents.engines.registry import open_engine
from agents.presets import Catalogue
from tests.bench.chart import draw
from tests.bench.statistics import Result, Summary, calibration, interval, summarise
from tools.video.video import Video

ROOT = Path(__file__).parents[2]
PER_VIDEO = 5

# One curve a program; along a curve one knob is turned that spends more.
CURVES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "direct": ("frames", (4, 8, 16, 32)),
    "chain_of_thought": ("frames", (8, 32)),
    "self_consistency": ("frames", (8, 32)),
    "best_of_n": ("samples", (4,)),
    "sparse_to_dense": ("limit", (16, 32)),
    "until_confident": ("threshold", (0.6, 0.9, 0.97)),
    "auto": ("confidence", (0.6, 0.9, 0.97)),
}


def main() -> None:
    options = _options()
    seeds = range(*(int(end) for end in options.seeds.split(":")))
    os.environ["OMP_NUM_THREADS"] = "1"  # a process for each core beats one process with many threads
    shares = [seeds[each :: options.workers] for each in range(options.workers)]
    wanted = -(-options.questions // options.workers)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        results = [row for rows in pool.map(measure, shares, [wanted] * len(shares)) for row in rows]
    report(results, options)


def measure(seeds: Sequence[int], wanted: int) -> list[Result]:
    """Ask `wanted` questions about the videos of these seeds, each with every setting."""
    return asyncio.run(_measure(seeds, wanted))


async def _measure(seeds: Sequence[int], wanted: int) -> list[Result]:
    engine, catalogue = open_engine("demo:"), Catalogue.load()
    settings = [(curve, knob, value) for curve, (knob, values) in CURVES.items() for value in values]
    results: list[Result] = []
    for number, (video, seed, question) in enumerate(islice(questions(seeds), wanted), 1):
        for curve, knob, value in settings:
            strategy = catalogue.resolve({"name": curve, knob: value})
            run = Run(posed(question), video, engine, seed=seed)
            began = perf_counter()
            outcome = await run_strategy(strategy, run)
            answer, ledger = outcome.answer, run.usage
            results.append(
                Result(
                    seed=seed,
                    kind=question.kind,
                    curve=curve,
                    setting=f"{knob}={value}",
                    correct=answer.value is not None and run.display(answer.value) == question.answer,
                    confidence=answer.confidence,
                    frames=ledger.frames_viewed,
                    tokens=ledger.prompt_tokens + ledger.completion_tokens,
                    cached=ledger.cached_tokens,
                    calls=ledger.calls,
                    seconds=perf_counter() - began,
                )
            )
        if number % 10 == 0:
            print(f"{number} of {wanted} questions", file=sys.stderr, flush=True)
    await engine.close()
    return results


def questions(seeds: Sequence[int]) -> Iterator[tuple[Video, int, DemoQuestion]]:
    """Encode each video, and yield it with each of its questions."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            generated = make_video(seed)
            path = Path(folder, f"{seed}.mp4")
            encode_video(generated, path)
            video = Video.open(path)
            for question in ask_about(generated, PER_VIDEO):
                yield video, seed, question
            path.unlink()


def posed(question: DemoQuestion) -> Question:
    """A demo question as a request would put it."""
    kind = "choice" if question.options else "yesno"
    return Question(text=question.text, options=question.options, kind=kind)


def report(results: Sequence[Result], options: argparse.Namespace) -> None:
    """Print the tables, write the JSON and the chart."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    videos = sorted({row.seed for row in results})
    asked = len(results) // sum(len(values) for _, values in CURVES.values())
    title = f"{asked} questions about {len(videos)} videos, seeds {videos[0]} to {videos[-1]}, commit {commit}"
    summaries = summarise(results)
    print(f"{title}\n\n{table(summaries)}\n\n{by_kind(results)}")
    draw(summaries, options.png, title)
    if options.json:
        rows = {"title": title, "summaries": [*map(asdict, summaries)], "results": [*map(asdict, results)]}
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def table(summaries: Sequence[Summary]) -> str:
    """One line a setting: accuracy with its 95 % interval, and what a question cost on average."""
    head = "| program | setting | accuracy [95 %] | frames | tokens | of them cached | calls | seconds |"
    lines = [
        f"| {each.curve} | {each.setting} | {each.accuracy:.3f} [{each.low:.3f}, {each.high:.3f}] "
        f"| {each.frames:.1f} | {each.tokens:.0f} | {each.cached:.0f} | {each.calls:.1f} | {each.seconds:.2f} |"
        for each in summaries
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines])


def by_kind(results: Sequence[Result]) -> str:
    """The direct answer at 32 frames by kind of question, and how honest its confidence is."""
    direct = [row for row in results if row.curve == "direct" and row.setting == "frames=32"]
    lines = []
    for kind in sorted({row.kind for row in direct}):
        rows = [row for row in direct if row.kind == kind]
        low, high = interval(rows)
        lines.append(
            f"| {kind} | {len(rows)} | {sum(r.correct for r in rows) / len(rows):.3f} [{low:.3f}, {high:.3f}] |"
        )
    few = [row for row in results if row.curve == "direct" and row.setting == "frames=4"]
    honest = f"Calibration error of direct: {calibration(direct):.3f} at 32 frames, {calibration(few):.3f} at 4."
    return "\n".join(["| kind | questions | direct, 32 frames [95 %] |", "|---|---|---|", *lines, "", honest])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default=f"{TEST_FROM}:{TEST_FROM + 1000}", help="FROM:TO of the videos")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path, default=ROOT / "docs" / "scaling.png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
