"""The end of a server's log is read for whoever must act: what happened, what to do, and the lines that say so.

The logs are of vLLM 0.32 itself where a CPU can make it fail so, shortened; else of its sources' words.
"""

from __future__ import annotations

import pytest

from agents.engines.serving.diagnosis import explain

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
        (OTHER_VLLM, "this release of vLLM is not known here", "No module named vllm.entrypoints"),
        (_TRACEBACK + NO_GPU, "vLLM finds no GPU here", "RuntimeError: Failed to infer device type"),
        (_TRACEBACK + NO_MODEL, "there is no model me/none", "OSError: me/none is not a local folder"),
        (_TRACEBACK + OFFLINE, "the model me/none is not on this machine", "OSError: We couldn't connect"),
        (_TRACEBACK + GATED, "set HF_TOKEN", "OSError: You are trying to access a gated repo"),
        (FULL, "it does not fit into memory", "torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB."),
        (_TRACEBACK + BUSY, "end what else uses the GPU", "ValueError: Free memory on device cuda:0"),
        (_TRACEBACK + TOO_LONG, "?max-model-len=16384", "ValueError: To serve 1 request"),
        (FLAG, "it does not know an option", "api_server.py: error: unrecognized arguments: --frobnicate=1"),
        (_TRACEBACK + TAKEN, "another program took its port", "OSError: [Errno 98]"),
        (_TRACEBACK + SETTING, "", "Value error, User-specified max_model_len (999999)"),
    ],
)
def test_what_to_do_and_the_line_that_says_why(log: str, advice: str, line: str) -> None:
    text = explain(log.splitlines(), 1, python="/usr/bin/python3", model="me/none")
    first, *rest = text.splitlines()
    assert first.startswith("it ended with status 1")
    assert advice in first
    assert any(line in each for each in rest)
    assert len(rest) <= 3 and not any("Traceback" in each or "pid=" in each for each in rest)


def test_an_error_that_two_processes_report_is_shown_once_and_without_its_consequence() -> None:
    text = explain(FULL.splitlines(), 1, python="python", model="m")
    assert text.splitlines()[1:] == ["  torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB."]


def test_who_was_killed_may_have_been_too_large() -> None:
    text = explain(["loading"], 128 + 9, python="python", model="m")
    assert text == ("it ended with signal 9: something killed it; the kernel does that when memory is short\n  loading")


def test_without_an_error_the_last_lines_are_shown() -> None:
    text = explain([f"line {number}" for number in range(100)], 0, python="python", model="m")
    assert text.splitlines() == ["it ended with status 0", *(f"  line {number}" for number in range(92, 100))]
