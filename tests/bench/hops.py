"""Which of our own files and functions a request passes on its way: python -m tests.bench.hops [--list]

Counted are functions of app/, agents/ and tools/ that begin or go on, in any thread and task of this process, between
the two ends of a scenario; one that runs often counts once. Methods, properties, closures and lambdas count each for
themselves, comprehensions and generator expressions as part of the function around them. What has no file of its own
(a dataclass's `__init__`) does not count, nor do the bodies of modules and classes. A file counts if one of its
functions does. Frames are decoded in this process (`sandbox=off`): a worker process could not be watched.

- direct, self_consistency: the second of two equal requests to a real server with the demo model, from before the
  client sends it until the records of its run are written. That ends after the response, but a model that takes its
  time has part of it done before: counted whole, the hops are the same at any speed.
- tool call: of a planner, from the model's reply that calls `view` until the model is asked again and shown what was
  found. The model is a script, the frames are not in the cache, and no records are written meanwhile.
- frame: from the path of a video until a stub of vLLM has received a message with one frame of it.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import os
import re
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from agents.core.frames import FrameLoader
from agents.core.model_client import compose_prompt
from agents.core.trace import Trace
from agents.core.usage import RunUsage
from agents.demo.encoder import encode_video
from agents.demo.generator import TEST_FROM, make_video
from agents.demo.questions import ask_about
from agents.engines.base import Prompt, Sampling
from agents.engines.registry import open_engine
from agents.engines.scripted import ScriptedEngine, ScriptLine
from app.settings import Settings
from tests.agents.engines.stub import Answer, Json, Stub, StubServers, is_probe, models, parts_of, talkative
from tests.app.conftest import over_socket
from tools.video.sampling import SampleWindow
from tools.video.video import Video

ROOT = Path(__file__).parents[2]
OWN = tuple(f"{ROOT / name}{os.sep}" for name in ("app", "agents", "tools"))
POOL_NUMBER = re.compile(r"_\d+$")
INNER = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
WELL = ("complete", "decided")
LOAD_SECONDS = 120.0
SETTLE_SECONDS = 1.0  # until the records of a run are written


@dataclass(frozen=True, slots=True)
class Call:
    """A function, and the thread and task that ran it. The line tells lambdas apart, and getters from setters."""

    place: str
    file: str
    name: str
    line: int


Calls = list[Call]  # in order, each function once for a thread and task


class Recorder:
    """Notes calls of own functions between `start` and `stop`, in threads that were started after it was made."""

    def __init__(self) -> None:
        self._calls: dict[Call, None] | None = None
        threading.setprofile(self._note)

    def start(self) -> None:
        """Begin, in the current thread too."""
        sys.setprofile(self._note)
        self._calls = {}

    def stop(self) -> Calls:
        """End. Returns the calls. Raises RuntimeError if there are none."""
        calls, self._calls = self._calls, None
        if not calls:
            raise RuntimeError("no call was seen")
        return list(calls)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        calls, code = self._calls, frame.f_code
        if event != "call" or calls is None or not code.co_filename.startswith(OWN):
            return
        if code.co_flags & inspect.CO_NEWLOCALS and code.co_name not in INNER:
            file = code.co_filename.removeprefix(f"{ROOT}{os.sep}")
            calls.setdefault(Call(_place(), file, code.co_qualname, code.co_firstlineno))


def _place() -> str:
    thread = POOL_NUMBER.sub("", threading.current_thread().name)
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return thread
    return f"{thread}, {'no task' if task is None else getattr(task.get_coro(), '__qualname__', task.get_name())}"


async def measure(folder: Path) -> dict[str, Calls]:
    """All scenarios, on one video."""
    recorder = Recorder()
    path, video = folder / "video.mp4", make_video(TEST_FROM + 1)
    encode_video(video, path)
    (question,) = ask_about(video, 1, ("colour",))
    body = {"video": {"path": str(path)}, "question": question.text, "options": question.options}
    found: dict[str, Calls] = {}
    async with over_socket(_settings(folder)) as client:
        async with asyncio.timeout(LOAD_SECONDS):
            while (await client.get("/ready")).status_code != httpx.codes.OK:
                await asyncio.sleep(0.1)
        for strategy in ("direct", "self_consistency"):
            found[f"{strategy}, warm"] = await warm(recorder, client, {**body, "strategy": strategy})
    planner = {**body, "strategy": {"name": "planner", "tools": ["view"]}}
    found["planner's tool call"] = await tool_call(recorder, _settings(folder, persist_seconds=3600), planner)
    found["frame from disk to a vLLM message"] = await frame_to_vllm(recorder, path)
    return found


def _settings(folder: Path, **more: Any) -> Settings:
    """Settings of a server none of whose timers goes off meanwhile."""
    return Settings(
        engine="demo:",
        video_dir=folder,
        data_dir=folder / "data",
        sandbox="off",
        key_seconds=3600,
        sweep_seconds=3600,
        retry_grace_seconds=3600,
        **more,
    )


async def warm(recorder: Recorder, client: httpx.AsyncClient, body: Json) -> Calls:
    """The second of two equal requests."""
    await ask(client, body)
    await asyncio.sleep(SETTLE_SECONDS)
    recorder.start()
    await ask(client, body)
    await asyncio.sleep(SETTLE_SECONDS)
    return recorder.stop()


async def ask(client: httpx.AsyncClient, body: Json) -> Json:
    """The report of an answer. Raises RuntimeError if it is not a whole one."""
    response = await client.post("/v1/answers", json=body)
    answer: Json = response.json()
    report: Json = answer.get("report", {})
    if answer.get("answer") is None or report["stopped"] not in WELL or report["degraded"]:
        raise RuntimeError(f"{body['strategy']}: {response.status_code} {response.text}")
    return report


async def tool_call(recorder: Recorder, settings: Settings, body: Json) -> Calls:
    """The call of the second request. The model cannot decide, looks at two seconds, and then answers."""
    replies = iter(("view 2 4", "Answer: A", "view 12 14", "Answer: A"))
    recorded: list[Calls] = []

    def script(_: Prompt, sampling: Sampling, n: int) -> list[ScriptLine]:
        if sampling.choices:
            return [dict.fromkeys(sampling.choices, 1 / len(sampling.choices))] * n
        reply = next(replies)
        if reply.startswith("view"):
            recorder.start()
        else:
            recorded.append(recorder.stop())
        return [reply] * n

    async with over_socket(settings, ScriptedEngine(script)) as client:
        reports = [await ask(client, body) for _ in range(2)]
    if [report["tool_calls"] for report in reports] != [1, 1]:
        raise RuntimeError(f"the planner did not call its tool once: {reports}")
    return recorded[1]


async def frame_to_vllm(recorder: Recorder, path: Path) -> Calls:
    """One frame, into a message."""
    recorded: list[Calls] = []

    def answer(body: Json) -> Answer:
        if not is_probe(body):
            recorded.append(recorder.stop())
        return talkative(body)

    with StubServers().open() as servers:
        stub = servers.add(Stub(answer, models("vllm")))
        engine = open_engine(f"openai:{stub.url}")
        try:
            await engine.probe()
            recorder.start()
            video = await asyncio.to_thread(Video.open, path)
            frames = FrameLoader(video, engine.side, RunUsage(), Trace())
            pictures = await frames.load([SampleWindow.at(video.span.end / 2)])
            await engine.generate(compose_prompt(pictures, "What is seen?"), Sampling(), 1)
        finally:
            await engine.close()
    (body,) = stub.asked
    if not any(part["type"] == "image_url" for part in parts_of(body)):
        raise RuntimeError(f"no frame arrived: {body}")
    return recorded[0]


def row(scenario: str, calls: Calls) -> str:
    """A line of the table."""
    functions = {(call.file, call.name, call.line) for call in calls}
    return f"| {scenario} | {len({file for file, *_ in functions})} | {len(functions)} |"


def listing(calls: Calls) -> str:
    """Functions by thread and task, and there by file, in order of first call."""
    lines: list[str] = []
    for place in dict.fromkeys(call.place for call in calls):
        here = [call for call in calls if call.place == place]
        lines.append(f"\n{place}")
        for file in dict.fromkeys(call.file for call in here):
            names = [call.name for call in here if call.file == file]
            lines.append(f"  {file} ({len(names)})\n    {', '.join(names)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print the functions too, by thread and task")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("SECONDLOOK_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder)))
    print("\n".join(["| scenario | files | functions |", "|---|---|---|", *(row(*each) for each in found.items())]))
    if options.list:
        print("\n".join(f"\n## {name}\n{listing(calls)}" for name, calls in found.items()))


if __name__ == "__main__":
    main()
