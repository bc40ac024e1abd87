"""The command line: the same path, the same wire format, words for people."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from agents.engines.scripted import ScriptedEngine
from app.answers.schemas import AnswerResponse
from app.cli.main import cli
from app.settings import Settings
from tests.app.conftest import COLOURS, body, over_asgi
from tests.service import serving

ROOT = Path(__file__).parents[3]
OPTIONS = [word for colour in COLOURS for word in ("--option", colour)]


def run(*line: str) -> Result:
    """The outcome of a command that must succeed."""
    result = CliRunner().invoke(cli, line)
    assert result.exit_code == 0, result.output
    return result


def ask(video_path: Path, *more: str) -> Result:
    return run("ask", str(video_path), "Which colour is seen?", *OPTIONS, "--engine", "scripted:B", *more)


def test_the_answer_comes_first_and_says_what_it_took(video_path: Path) -> None:
    result = ask(video_path, "--strategy", "direct")
    lines = result.stdout.splitlines()
    assert lines[0] == "B. green"
    assert any("confidence" in line and "100%" in line for line in lines)
    assert any("32 frames" in line for line in lines)
    assert result.stderr == ""


def test_json_is_what_the_service_sends(settings: Settings, video_path: Path) -> None:
    line = ("--strategy", "direct", "--set", "frames=5", "--seed", "3", "--frames", "9", "--start", "8", "--json")
    mine = json.loads(ask(video_path, *line).stdout)
    AnswerResponse.model_validate(mine)
    engine = ScriptedEngine(lambda _prompt, _sampling, _n: [{"A": 0, "B": 1, "C": 0, "D": 0}])
    strategy = {"name": "direct", "frames": 5}
    request = body(video_path, strategy=strategy, seed=3, budget={"frames": 9}, start=8)

    async def over_http() -> dict[str, Any]:
        async with over_asgi(settings, engine) as client:
            answer: dict[str, Any] = (await client.post("/v1/answers", json=request)).json()
            return answer

    theirs = asyncio.run(over_http())
    for each in (mine, theirs):
        del each["id"], each["report"]["seconds"], each["report"]["prompt_tokens"]
    assert mine == theirs


def test_a_trace_is_told_on_stderr_alone(video_path: Path) -> None:
    result = ask(video_path, "--trace", "--json")
    json.loads(result.stdout)
    told = [line.split("s  ", 1)[1] for line in result.stderr.splitlines()]
    assert told[0] == "direct …"
    assert told[1].startswith("looked at 8 frames from")
    assert told[2].startswith("asked (choose) with 8 frames")
    assert told[-1] == "stopped: confident"


def test_settings_come_from_the_environment(video_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDLOOK_STRATEGY", "direct")
    monkeypatch.setenv("SECONDLOOK_MAX_FRAMES", "3")
    report = json.loads(ask(video_path, "--json").stdout)["report"]
    assert (report["strategy"]["name"], report["frames_viewed"]) == ("direct", 3)


def test_a_bad_setting_is_named(video_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDLOOK_MAX_RUNS", "many")
    result = CliRunner().invoke(cli, ["ask", str(video_path), "?"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "max_runs" in result.stderr


@pytest.mark.parametrize("engine", ["nonsense:", "transformers:"])
def test_an_engine_that_cannot_be_opened_has_its_own_exit_code(video_path: Path, engine: str) -> None:
    result = CliRunner().invoke(cli, ["ask", str(video_path), "Why?", "--engine", engine])
    assert (result.exit_code, result.stdout) == (4, "")
    assert engine in result.stderr


def test_a_parameter_needs_a_value(video_path: Path) -> None:
    result = CliRunner().invoke(cli, ["ask", str(video_path), "Why?", "--set", "frames"])
    assert result.exit_code == 2
    assert "KEY=VALUE" in result.stderr


@pytest.mark.anyio
async def test_strategies_are_those_of_the_service(settings: Settings, engine: ScriptedEngine) -> None:
    mine = json.loads(run("strategies", "--json").stdout)
    async with over_asgi(settings, engine) as client:
        theirs = (await client.get("/v1/strategies")).json()
    for card in [*mine["data"], *theirs["data"]]:
        del card["fits"]
    assert mine == theirs
    listed = run("strategies").stdout
    assert all(card["name"] in listed for card in mine["data"])


def test_one_strategy_in_full() -> None:
    shown = run("strategies", "self_consistency").stdout
    assert all(word in shown for word in ("samples", "diversity", "1…64", "2203.11171"))
    assert "preset of sparse_to_dense" in run("strategies", "video_rts").stdout
    unknown = CliRunner().invoke(cli, ["strategies", "gues"])
    assert (unknown.exit_code, unknown.stdout) == (2, "")


def test_the_demo_compares_strategies_with_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = tmp_path / "kept.mp4"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setattr("app.cli.demo.which", lambda _: None)
    shown = run("demo", "--engine", "scripted:A", "--questions", "2", "--keep", str(video)).stdout
    for strategy in ("direct", "self_consistency", "sparse_to_dense", "until_confident", "auto"):
        rows = re.findall(rf"^ *{strategy} ", shown, re.MULTILINE)
        assert len(rows) == 3  # once for each question and once in the totals
    assert shown.count(" of 2 ") == 5
    assert "truth" in shown
    assert video.stat().st_size > 0
    assert "Ask it yourself: .venv/bin/secondlook ask " in shown, "what is told can be typed as it stands"


def test_the_demo_without_torch_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    line = [sys.executable, "-m", "app", "demo", "--questions", "1"]
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (4, "")
    assert 'pip install "secondlook[local]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_service_starts_answers_and_stops_in_bounded_time(tmp_path: Path, video_path: Path) -> None:
    with serving(tmp_path, engine="scripted:A", video_dir=video_path.parent, drain_seconds=1) as service:
        answered = httpx.post(f"{service.url}/v1/answers", json=body(video_path), trust_env=False)
        assert answered.json()["answer"] == "red"
        with socket.create_connection(("127.0.0.1", service.port)) as endless:
            head = "POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=cut\r\n"
            part = '--cut\r\nContent-Disposition: form-data; name="file"\r\n\r\nfirst bytes'
            endless.sendall(f"{head}content-length: 1000\r\n\r\n{part}".encode())
            deadline = time.monotonic() + 30
            while not list(tmp_path.glob("data/incoming/*")):
                assert time.monotonic() < deadline, "the upload does not begin"
                time.sleep(0.01)
            began = time.monotonic()
            service.stop()
        assert 0.5 < time.monotonic() - began < 30
    assert list(tmp_path.glob("data/incoming/*")) == []


def test_help_shows_examples_and_every_form_of_engine() -> None:
    text = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "120"}).output
    assert 'secondlook ask video.mp4 "Which shape appears first?"' in text
    assert all(scheme in text for scheme in ("demo:", "vllm:", "openai:", "transformers:", "scripted:"))


def test_the_version_is_that_of_the_package() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"secondlook {version('secondlook')}\n"


def test_strategies_begins_with_what_to_use_when() -> None:
    text = CliRunner().invoke(cli, ["strategies"], env={"COLUMNS": "120"}).output
    assert text.index("you do not know yet") < text.index("best_of_n")
