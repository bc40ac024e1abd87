"""Draw what an answer looks like: the frames that the model saw, call by call, and what it thought.

    python -m tests.docs.picture           # `make docs-picture`; writes docs/answer.png

All of it comes from one request to a real service about the demo video.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx
import matplotlib
import numpy as np
from matplotlib import pyplot
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray

from agents.demo.encoder import encode_video
from agents.demo.generator import make_video
from tests.service import serving

matplotlib.use("Agg")
PICTURE = Path(__file__).parents[2] / "docs" / "answer.png"
SEED = 1_000_000_007
REQUEST = {
    "video": {"path": "video.mp4"},
    "question": "Which shape is blue?",
    "options": ["cross", "triangle", "circle", "diamond"],
    "strategy": "until_confident",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the model: the seconds that it saw, and the best answer after it."""

    times: tuple[float, ...]
    answer: str
    confidence: float


def main() -> None:
    """Ask, then draw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = folder / "video.mp4"
        encode_video(make_video(SEED), video)
        with serving(folder, engine="demo:", video_dir=folder) as service:
            answer = _json(httpx.post(f"{service.url}/v1/answers", json=REQUEST, timeout=120, trust_env=False))
            run = _json(httpx.get(f"{service.url}/v1/runs/{answer['id']}", timeout=60, trust_env=False))
        _draw(_calls(run), _frames(video), answer["report"])


def _json(response: httpx.Response) -> dict[str, Any]:
    response.raise_for_status()
    return dict(response.json())


def _calls(run: dict[str, Any]) -> list[Call]:
    """Each look's frames come with the answer that follows it."""
    calls, times = [], ()
    for event in (each["event"] for each in run["events"]):
        times = tuple(event["times"]) if event["event"] == "asked" else times
        if event["event"] == "proposed":
            calls.append(Call(times, event["answer"], event["confidence"]))
    return calls


def _frames(video: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    with av.open(video) as container:
        shown = list(container.decode(video=0))
    return [(frame.time or 0.0, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)) for frame in shown]


def _draw(calls: Sequence[Call], frames: Sequence[tuple[float, NDArray[np.uint8]]], report: dict[str, Any]) -> None:
    figure, axes = pyplot.subplots(figsize=(12, 0.95 * len(calls) + 0.9), dpi=100)
    end = frames[-1][0]
    for row, call in enumerate(reversed(calls)):
        for time in call.times:
            _, pixels = min(frames, key=lambda frame: abs(frame[0] - time))
            pixels = pixels[::4, ::4]
            image = OffsetImage(pixels, zoom=min(0.42, 5.6 / len(call.times)) if len(call.times) > 16 else 0.42)
            axes.add_artist(AnnotationBbox(image, (time, row), frameon=False, pad=0))
        weight = "bold" if row == 0 else "normal"
        axes.text(end + 1, row, f"{call.answer} {call.confidence:.0%}", va="center", fontsize=13, weight=weight)
    axes.set_xlim(-1.2, end + 4.5)
    axes.set_ylim(-0.6, len(calls) - 0.4)
    names = [f"call {number}: {len(call.times)} frames" for number, call in enumerate(calls, 1)]
    axes.set_yticks(range(len(calls)), names[::-1])
    axes.set_xticks(range(0, int(end) + 1, 5))
    axes.set_xlabel("second of the video", fontsize=9)
    options = " / ".join(REQUEST["options"])
    axes.set_title(f'"{REQUEST["question"]}"   {options}      strategy: {REQUEST["strategy"]}', loc="left", fontsize=11)
    tokens = report["prompt_tokens"] + report["completion_tokens"]
    cost = f"{report['frames_viewed']} frames, {report['calls']} calls, {tokens} tokens, stopped: {report['stopped']}"
    figure.text(0.985, 0.03, cost, ha="right", fontsize=9, color="0.35")
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(PICTURE)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
