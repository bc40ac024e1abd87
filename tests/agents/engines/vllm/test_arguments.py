"""vLLM is started with the flags that it needs, and the end of its log is explained to its operator."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agents.engines.base import EngineError
from agents.engines.registry import open_engine
from agents.engines.vllm.arguments import VllmCommand, explain_exit
from agents.engines.vllm.engine import VllmEngine
from agents.engines.vllm.process import LogTail, RestartBackoff, SupervisorLimits

_TRACEBACK = """\
(APIServer pid=8190) INFO 11-21 11:21:03 [api_server.py:101] vLLM API server version 0.32.0
(APIServer pid=8190) Traceback (most recent call last):
(APIServer pid=8190)   File "<frozen runpy>", line 198, in _run_module_as_main
(APIServer pid=8190)     raise OSError(
"""
NOT_INSTALLED = (
    "/usr/bin/python3: Error while finding module specification for 'vllm.entrypoints.openai.api_server' "
    "(ModuleNotFoundError: No module named 'vllm')\n"
)
OTHER_VLLM = "/usr/bin/python3: No module named vllm.entrypoints.openai.api_server\n"
NO_GPU = "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`\n"
NO_MODEL = (
    "OSError: me/none is not a local folder and is not a valid model identifier listed on 'https://hub.example'\n"
)
OFFLINE = (
    "OSError: We couldn't connect to 'https://hub.example' to load the files, and couldn't find them in the cache.\n"
)
GATED = "OSError: You are trying to access a gated repo.\nMake sure to have access to it.\n"
FULL = (
    "(EngineCore pid=9) ERROR 11-21 11:21:05 [core.py:1100] EngineCore failed to start.\n"
    "(EngineCore pid=9) ERROR 11-21 11:21:05 [core.py:1100] Traceback (most recent call last):\n"
    "(EngineCore pid=9) ERROR 11-21 11:21:05 [core.py:1100] torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB.\n"
    "(EngineCore pid=9) torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB.\n"
    "(APIServer pid=8) RuntimeError: Engine core initialization failed. See root cause above.\n"
)
BUSY = (
    "ValueError: Free memory on device cuda:0 (2.1/80.0 GiB) on startup is less than desired GPU memory utilization\n"
)
TOO_LONG = (
    "ValueError: To serve 1 request, 9 GiB KV cache is needed, which is larger than the available KV cache memory.\n"
)
FLAG = "usage: api_server.py [options]\napi_server.py: error: unrecognized arguments: --frobnicate=1\n"
TAKEN = "OSError: [Errno 98] Address already in use\n"
SETTING = (
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
    "  Value error, User-specified max_model_len (999999) is greater than the derived max_model_len\n"
    "    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
)


@pytest.mark.parametrize(
    ("log", "advice", "line"),
    [
        (
            NOT_INSTALLED,
            'vLLM is not installed for /usr/bin/python3: pip install "secondlook[vllm]"',
            "No module named",
        ),
        (OTHER_VLLM, "this release of vLLM is not supported", "No module named vllm.entrypoints"),
        (_TRACEBACK + NO_GPU, "vLLM finds no GPU here", "RuntimeError: Failed to infer device type"),
        (_TRACEBACK + NO_MODEL, "there is no model me/none", "OSError: me/none is not a local folder"),
        (_TRACEBACK + OFFLINE, "the model me/none is not on this machine", "OSError: We couldn't connect"),
        (_TRACEBACK + GATED, "set HF_TOKEN", "OSError: You are trying to access a gated repo"),
        (FULL, "it does not fit into memory", "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB."),
        (_TRACEBACK + BUSY, "stop other programs on the GPU", "ValueError: Free memory on device cuda:0"),
        (_TRACEBACK + TOO_LONG, "?max-model-len=16384", "ValueError: To serve 1 request"),
        (FLAG, "it does not know an option", "api_server.py: error: unrecognized arguments: --frobnicate=1"),
        (_TRACEBACK + TAKEN, "another program took its port", "OSError: [Errno 98]"),
        (_TRACEBACK + SETTING, "", "Value error, User-specified max_model_len (999999)"),
    ],
)
def test_what_to_do_and_the_line_that_says_why(log: str, advice: str, line: str) -> None:
    text = explain_exit(log.splitlines(), 1, python="/usr/bin/python3", model="me/none")
    first, *rest = text.splitlines()
    assert first.startswith("it ended with status 1")
    assert advice in first
    assert any(line in each for each in rest)
    assert len(rest) <= 3 and not any("Traceback" in each or "pid=" in each for each in rest)


def test_an_error_that_two_processes_report_is_shown_once_and_without_its_consequence() -> None:
    text = explain_exit(FULL.splitlines(), 1, python="python", model="m")
    assert text.splitlines()[1:] == ["  torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB."]


def test_who_was_killed_may_have_been_too_large() -> None:
    text = explain_exit(["loading"], 128 + 9, python="python", model="m")
    assert text == ("it ended with signal 9: the kernel kills programs when memory is short\n  loading")


def test_without_an_error_the_last_lines_are_shown() -> None:
    text = explain_exit([f"line {number}" for number in range(100)], 0, python="python", model="m")
    assert text.splitlines() == ["it ended with status 0", *(f"  line {number}" for number in range(92, 100))]


KEY = "a-secret-that-nobody-sees"


def program(model: str = "some/model", **flags: str) -> VllmCommand:
    """A program with an interpreter that exists."""
    return VllmCommand(
        model, model, {name.replace("_", "-"): value for name, value in flags.items()}, sys.executable, KEY
    )


def opened(url: str) -> VllmCommand:
    """The program of the engine that a URL names."""
    engine = open_engine(url)
    assert isinstance(engine, VllmEngine)
    return engine.supervisor.program


def test_it_listens_on_loopback_and_its_key_is_not_an_argument() -> None:
    made = program()
    command = list(made.command)
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--port") + 1] == made.root.removeprefix("http://127.0.0.1:")
    assert made.environment["VLLM_API_KEY"] == KEY
    assert KEY not in " ".join(command) + repr(made)


def test_our_requests_are_provided_for() -> None:
    command = program().command
    assert {"--logprobs-mode=processed_logprobs", "--enable-prompt-tokens-details"} <= set(command)
    assert "--trust-request-mm-kwargs" in command
    (limit,) = (each.partition("=")[2] for each in command if each.startswith("--limit-mm-per-prompt="))
    assert json.loads(limit) == {"image": 256, "video": 1}


def test_flags_are_passed_on_and_go_before_ours() -> None:
    command = program(
        tensor_parallel_size="2", enforce_eager="", async_scheduling="false", max_model_len="32768"
    ).command
    assert {"--tensor-parallel-size=2", "--enforce-eager", "--no-async-scheduling"} <= set(command)
    assert [each for each in command if each.startswith("--max-model-len")] == ["--max-model-len=32768"]


@pytest.mark.parametrize(
    ("url", "flags"),
    [
        ("vllm:Qwen/Qwen3-VL-8B-Instruct", {"--enable-auto-tool-choice", "--tool-call-parser=hermes"}),
        ("Qwen/Qwen3-VL-8B-Instruct", {"--enable-auto-tool-choice", "--tool-call-parser=hermes"}),
        ("Qwen/Qwen3-VL-8B-Instruct?tool-call-parser=mine", {"--tool-call-parser=mine"}),
        ("Qwen/Qwen3-VL-8B-Thinking", {"--reasoning-parser=qwen3"}),
        ("me/unheard-of?profile=gemma4", {"--tool-call-parser=gemma4", "--reasoning-parser=gemma4"}),
    ],
)
def test_what_a_family_needs_is_in_its_profile(url: str, flags: set[str]) -> None:
    assert flags <= set(opened(url).command)


def test_of_an_unknown_family_nothing_is_claimed() -> None:
    assert not {each for each in opened("me/unheard-of").command if "parser" in each or "tool" in each}


def test_a_model_is_called_by_its_id_or_its_folder_or_as_asked(tmp_path: Path) -> None:
    assert opened("Qwen/Qwen3-VL-8B-Instruct").name == "Qwen/Qwen3-VL-8B-Instruct"
    assert opened(f"vllm:{tmp_path}").name == tmp_path.name
    assert opened(f"vllm:{tmp_path}?name=mine").command[5:7] == ("--served-model-name", "mine")


def test_each_server_has_its_own_key_unless_one_is_given() -> None:
    assert opened("a/b").key != opened("a/b").key
    engine = open_engine("a/b", api_key=KEY)
    assert isinstance(engine, VllmEngine)
    assert engine.supervisor.program.key == KEY


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("vllm:", "names no model: write vllm:FOLDER-OR-ID"),
        ("vllm:/no/such/folder", "there is no model folder /no/such/folder"),
        ("a/b?python=/no/such/python", "there is no interpreter /no/such/python"),
        ("a/b?api-key=sk-1", "api-key cannot be set"),
        ("a/b?host=0.0.0.0", "host cannot be set"),
        ("a/b?x;y=1", "'x;y' is not a valid option name of vLLM"),
        ("a/b?startup=soon", "startup: Input should be a valid number.*'soon'"),
        ("a/b?restarts=-1", "restarts: Input should be greater than or equal to 0.*'-1'"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_before_anything_starts(url: str, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        open_engine(url)
    assert "sk-1" not in str(caught.value)


def test_pauses_double_up_to_the_longest_and_end_after_too_many() -> None:
    pace = RestartBackoff(SupervisorLimits(restarts=5, window=100, pause=1, longest_pause=5))
    assert [pace.pause(at) for at in (0, 1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5, None]


def test_restarts_that_are_long_past_do_not_count() -> None:
    pace = RestartBackoff(SupervisorLimits(restarts=2, window=100, pause=1))
    assert [pace.pause(at) for at in (0, 50, 99, 101, 151, 160)] == [1, 2, None, 2, 2, None]


def test_output_is_told_line_by_line_and_its_end_kept() -> None:
    lines: list[str] = []
    output = LogTail(lines.append, KEY)
    output.feed(b"one\n\ntw")
    output.feed(f"o {KEY}\n".encode() + b"".join(b"%d\n" % number for number in range(1000)) + b"last \xff")
    assert lines[:2] == ["one", "two ***"] and lines[-1] == "999"
    output.close()
    assert lines[-1] == "last \N{REPLACEMENT CHARACTER}"
    assert len(output.lines) == 400 and output.lines[-1] == lines[-1]


def test_what_is_drawn_over_is_seen_but_not_told() -> None:
    lines: list[str] = []
    output = LogTail(lines.append, KEY)
    for share in (0, 50):
        output.feed(f"\rshards: {share} %".encode())
    assert (lines, output.latest) == ([], "shards: 50 %")
    output.feed(b"\rshards: 100 %\n")
    assert lines == ["shards: 100 %"]


def test_a_line_without_end_takes_no_memory() -> None:
    output = LogTail(lambda _: None, KEY)
    for _ in range(1000):
        output.feed(b"x" * 1000)
    output.close()
    assert len(output.lines) == 1 and len(output.lines[0]) <= 2000
