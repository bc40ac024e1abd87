"""lmms_eval: a real evaluation scores as ours does, with frames that it takes itself and with the URLs of videos."""

from __future__ import annotations

import io
import json
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clients.conftest import INSIDE
from tests.clients.install import ensure
from tests.clients.stage import FRAMES, Asked, Stage

LEAST_VIDEOS = 20
_SECONDS = 600
_WAYS = {"frames": ((), ("--force_simple",)), "films": (("pass_video_url=True",), ())}


@pytest.mark.parametrize("way", _WAYS)
def test_score(
    stage: Stage, tmp_path: Path, surroundings: dict[str, str], way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = [{"film": str(each.video), "text": each.words, "letter": each.question.letter} for each in stage.asked]
    assert len({each["film"] for each in questions}) >= LEAST_VIDEOS
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps(each) for each in questions))
    _evaluate(stage, tmp_path, surroundings, way)
    (results,) = (tmp_path / "out").rglob("*_results.json")
    (samples,) = (tmp_path / "out").rglob("*_samples_demo_films.jsonl")
    said = {each["doc_id"]: each["filtered_resps"] for each in map(json.loads, samples.read_text().splitlines())}
    ours = [_ours(stage, each, way) for each in stage.asked]
    assert [said[number] for number in range(len(questions))] == ours, "a failed call would be scored as an answer"
    score = json.loads(results.read_text())["results"]["demo_films"]["accuracy,none"]
    right = [letter == each["letter"] for letter, each in zip(ours, questions, strict=True)]
    assert score == pytest.approx(sum(right) / len(right))
    assert score > 0.5, "a model that saw nothing would guess"
    with capsys.disabled():
        print(f"\nlmms_eval with {way}: {score:.3f} of {len(questions)} questions right, as ours, one by one")


def _evaluate(stage: Stage, folder: Path, surroundings: dict[str, str], way: str) -> None:
    more, flags = _WAYS[way]
    arguments = ["model=demo:direct", f"base_url={stage.service.url}/v1", f"max_frames_num={FRAMES}"]
    arguments += ["max_retries=1", "num_concurrent=4", *more]
    command = [str(ensure("lmms_eval")), "-m", "lmms_eval", "--model", "openai", "--model_args", ",".join(arguments)]
    command += ["--tasks", "demo_films", "--include_path", str(INSIDE / "films"), *flags]
    command += ["--batch_size", "1", "--log_samples", "--output_path", "out"]
    environment = {**surroundings, "OPENAI_API_KEY": stage.key}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-8000:]}"


def _ours(stage: Stage, asked: Asked, way: str) -> str:
    return stage.native(asked, _spread(asked.video) if way == "frames" else ())


def _spread(video_path: Path) -> list[str]:
    """The frames that lmms_eval takes: from the first to the last, as PNG."""
    with av.open(video_path) as container:
        frames = list(container.decode(video=0))
    return [_png(frames[place]) for place in np.linspace(0, len(frames) - 1, FRAMES, dtype=int)]


def _png(frame: Any) -> str:
    file = io.BytesIO()
    frame.to_image().save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
