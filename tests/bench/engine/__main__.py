"""The service in front of a real vLLM, measured in one run.

python -m tests.bench.engine [--parts overhead,votes,rounds,auto] [--questions N] [--json FILE]
python -m tests.bench.engine --gpu --python PYTHON      # a model of real size, random weights, vLLM's CUDA build
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from agents.demo import WEIGHTS
from agents.demo.encoder import encode_video
from agents.demo.generator import TEST_FROM, make_video
from agents.demo.questions import DemoQuestion, ask_about
from tests.bench.engine import answering, densifying, escalating, full_size, overhead, rivals, voting
from tests.bench.engine.claim import Claim, table
from tests.bench.footage import encode_footage
from tests.vllm.install import install, installed, python
from tests.vllm.server import FLAGS, SURROUNDINGS, Server
from tests.vllm.service import asking
from tests.vllm.tiny_qwen import save_tiny_qwen

PARTS = ("overhead", "votes", "rounds", "auto")
_SEEDS = TEST_FROM + 600
_FOOTAGE = Path(tempfile.gettempdir()) / "secondlook-footage"
_UNIFORM = '{"video": {"video_backend": "opencv", "num_frames": 32}}'  # else vLLM takes two frames a second of a video
_PATIENT = {**SURROUNDINGS, "VLLM_VIDEO_FETCH_TIMEOUT": "600"}  # it fetches and decodes a video eight times at once
_LONGER = {**FLAGS, "--max-model-len": "4096"}
_SLOW = 512  # numbers a token: one core writes 64 tokens in about a second
_TITLES = {
    "overhead": "Overhead of the service: the same call, through it and straight to vLLM",
    "votes": "self_consistency, 8 samples on 32 frames of a 10-minute video, against its_hub 1.2.0",
    "rounds": "sparse_to_dense, 8, 16, 32 frames",
    "auto": "auto against self_consistency, both with their defaults",
}


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that no server is left behind
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(_gpu(options, Path(folder)) if options.gpu else _cpu(options, Path(folder)))
    for part, claims in results.items():
        print(f"\n{_TITLES[part]}\n\n{table(claims)}", flush=True)
    missed = [claim.what for claims in results.values() for claim in claims if claim.met is False]
    print(f"\n{'Missed: ' + '; '.join(missed) if missed else 'All goals met.'} ({perf_counter() - began:.0f} s)")
    if options.json:
        rows = {part: [asdict(claim) for claim in claims] for part, claims in results.items()}
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


async def _cpu(options: argparse.Namespace, folder: Path) -> dict[str, list[Claim]]:
    """The demo model and a tiny Qwen3-VL, one after the other: two servers would take each other's processor."""
    if not installed():
        install()
    found: dict[str, list[Claim]] = {}
    questions = _questions(folder, options.questions)
    with _running(Server(python(), WEIGHTS, folder / "demo.log")) as server:
        if "overhead" in options.parts:
            _tell("overhead")
            asked = [asking(video, question, overhead.STRATEGY) for video, question in questions[:48]]
            found["overhead"] = await overhead.measure(server, folder, folder, asked)
        if "votes" in options.parts:
            rivals.install()
            _tell("votes on demo videos")
            found["votes"] = await answering.measure(server, folder, questions[:60])
        if "rounds" in options.parts:
            _tell("rounds")
            found["rounds"] = await densifying.measure(server, folder, questions)
        if "auto" in options.parts:
            _tell("auto")
            found["auto"] = await escalating.measure(server, folder, questions)
    if "overhead" in options.parts:
        size = save_tiny_qwen(folder / "slow", _SLOW)
        with _running(Server(python(), folder / "slow", folder / "slow.log", name="qwen3-vl", flags=_LONGER)) as server:
            _tell("overhead on a slower model")
            asked = [asking(video, question, overhead.STRATEGY) for video, question in questions[:16]]
            found["overhead"] += await overhead.measure_slow(server, folder, folder, asked, size)
    if "votes" in options.parts:
        save_tiny_qwen(folder / "qwen")
        flags = {**_LONGER, "--media-io-kwargs": _UNIFORM}
        tiny = Server(
            python(), folder / "qwen", folder / "qwen.log", name="qwen3-vl", flags=flags, surroundings=_PATIENT
        )
        with _running(tiny) as server:
            found["votes"] = [*await _votes(server, folder), *found["votes"]]
    return found


async def _gpu(options: argparse.Namespace, folder: Path) -> dict[str, list[Claim]]:
    """A Qwen3-VL of 8 billion random parameters: what it says means nothing, what it costs does."""
    full_size.save_full_size(folder / "model")
    flags = {**full_size.FLAGS, "--media-io-kwargs": _UNIFORM}
    server = Server(options.python, folder / "model", folder / "gpu.log", name="qwen3-vl", flags=flags, surroundings={})
    found: dict[str, list[Claim]] = {}
    with _running(server):
        if "overhead" in options.parts:
            asked = [asking(video, question, overhead.STRATEGY) for video, question in _questions(folder, 48)]
            found["overhead"] = await overhead.measure(server, folder, folder, asked)
        if "votes" in options.parts:
            rivals.install()
            found["votes"] = await _votes(server, folder)
    return found


async def _votes(server: Server, folder: Path) -> list[Claim]:
    _tell("votes on ten minutes of video")
    return await voting.measure(server, encode_footage(_FOOTAGE, 10), encode_footage(_FOOTAGE, 2), folder)


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    _tell(f"starting vLLM with {server.name}")
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def _questions(folder: Path, count: int) -> list[tuple[Path, DemoQuestion]]:
    """So many questions about videos of the range that nobody trained on."""
    found: list[tuple[Path, DemoQuestion]] = []
    for seed in range(_SEEDS, _SEEDS + count):
        video = make_video(seed)
        path = folder / f"{seed}.mp4"
        encode_video(video, path)
        found += [(path, question) for question in ask_about(video, 5)]
        if len(found) >= count:
            break
    return found[:count]


def _tell(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


def _parts(text: str) -> Sequence[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    return chosen


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=_parts, default=PARTS, help="which of overhead,votes,rounds,auto")
    parser.add_argument("--questions", type=int, default=100, help="questions to the demo model")
    parser.add_argument("--gpu", action="store_true", help="a model of real size; --python has vLLM's CUDA build")
    parser.add_argument("--python", type=Path, default=python())
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
