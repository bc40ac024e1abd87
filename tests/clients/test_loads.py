"""Load generators, vLLM's and guidellm: no request fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from agents.demo import WEIGHTS
from tests.clients.conftest import INSIDE
from tests.clients.install import ensure
from tests.clients.stage import Stage, pictures
from tests.vllm.install import install, installed, python

REQUESTS = 12


def test_vllm_bench(stage: Stage, tmp_path: Path, surroundings: dict[str, str]) -> None:
    """Pictures and videos of random noise, half and half, streamed."""
    if not installed():
        install()
    shown = {
        "random-mm-base-items-per-request": "1",
        "random-mm-num-mm-items-range-ratio": "0",
        "random-mm-limit-mm-per-prompt": '{"image":1,"video":1}',
        "random-mm-bucket-config": "{(84,84,1): 0.5, (84,84,8): 0.5}",
    }
    how = {
        "backend": "openai-chat",
        "base-url": stage.service.url,
        "endpoint": "/v1/chat/completions",
        "model": "demo",
        "tokenizer": str(WEIGHTS),
        "dataset-name": "random-mm",
        "num-prompts": str(REQUESTS),
        "max-concurrency": "4",
        "random-input-len": "24",
        "random-output-len": "8",
        "result-dir": str(tmp_path),
        "result-filename": "result.json",
    }
    command = [str(python()), str(INSIDE / "with_vllm_bench.py"), "--save-result", "--disable-tqdm"]
    for name, value in {**how, **shown}.items():
        command += [f"--{name}", value]
    environment = {**surroundings, "OPENAI_API_KEY": stage.key, "VLLM_TARGET_DEVICE": "cpu", "VLLM_NO_USAGE_STATS": "1"}
    _run(command, environment)
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["completed"], result["failed"]) == (REQUESTS, 0)


def test_guidellm(stage: Stage, tmp_path: Path, surroundings: dict[str, str]) -> None:
    """Videos and pictures in turn, streamed. It sends videos as `data:video/unknown`.

    What it cannot load it skips without an end: made-up videos, if what it makes them with is not installed.
    """
    asked = stage.asked[:REQUESTS:2]
    videos = [{"prompt": each.words, "video": f"{stage.site}/{each.video.name}", "image": None} for each in asked]
    stills = [{"prompt": each.words, "video": None, "image": pictures(each.video)[0]} for each in asked]
    (tmp_path / "asked.jsonl").write_text("\n".join(json.dumps(each) for each in videos + stills))
    how = {
        "backend": f"kind=openai_http,target={stage.service.url},model=demo,api_key={stage.key}",
        "profile": "kind=concurrent,streams=4",
        "constraint": f"kind=max_requests,count={REQUESTS}",
        "data": f"kind=json_file,path={tmp_path / 'asked.jsonl'}",
        "tokenizer": f"kind=hf_auto,model={WEIGHTS}",
        "output": f"kind=json,path={tmp_path / 'result.json'}",
    }
    command = [str(ensure("guidellm").with_name("guidellm")), "run", "--disable-progress"]
    for name, value in how.items():
        command += [f"--{name}", value]
    _run(command, surroundings)
    (benchmark,) = json.loads((tmp_path / "result.json").read_text())["benchmarks"]
    totals = benchmark["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"], totals["incomplete"]) == (REQUESTS, 0, 0)


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    print(f"{done.stdout[-8000:]}\n{done.stderr[-8000:]}")
    assert done.returncode == 0
