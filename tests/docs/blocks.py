"""Read the fenced blocks of a page, and run them in order in one folder, as a reader would.

Languages: `sh` and `python` are run; the `text` or `json` block that follows one shows what it prints; others are data.
A block that tests cannot run has a line before it that readers see: `*Not run by our tests: it needs a GPU.*`
`secondlook serve` runs in the background until the page ends, on a free port in place of 8000.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.service import free_port, until

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
RUN_LANGUAGES = ("sh", "python")
OUTPUT_LANGUAGES = ("text", "json")
DATA_LANGUAGES = ("toml",)
BLOCK_SECONDS = 300.0
_START_SECONDS = 180.0
_FENCE = re.compile(r"^```(\w*)$")
_SKIP = re.compile(r"^\*Not run by our tests: (.+)\.\*$")
_SERVE = re.compile(r"^(?:\w+=\S+ )*secondlook serve\b", re.MULTILINE)
_DEFAULT_ADDRESS = "127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `skipped`: why it is not run. `output`: what the page says that it prints."""

    page: Path
    line: int
    language: str
    text: str
    skipped: str | None = None
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        """Whether tests run it."""
        return self.language in RUN_LANGUAGES and self.skipped is None


def read_blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order; what is printed is part of the block that prints it."""
    blocks: list[Block] = []
    before, start, language = "", 0, ""
    inside: list[str] | None = None
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if inside is not None and line == "```":
            _append(blocks, Block(page, start, language, "\n".join(inside) + "\n", _skipped(before)))
            before, inside = "", None
        elif inside is not None:
            inside.append(line)
        elif fence := _FENCE.match(line):
            start, language, inside = number, fence[1], []
        elif line.strip():
            before = line
    assert inside is None, f"{page}: the block of line {start} does not end"
    return blocks


def _append(blocks: list[Block], block: Block) -> None:
    last = blocks[-1] if blocks else None
    if last and last.language in RUN_LANGUAGES and last.output is None and block.language in OUTPUT_LANGUAGES:
        blocks[-1] = Block(last.page, last.line, last.language, last.text, last.skipped, block.text)
    else:
        blocks.append(block)


def _skipped(before: str) -> str | None:
    found = _SKIP.match(before)
    return found[1] if found else None


def matches(expected: str, printed: str) -> bool:
    """Whether all that is expected was printed, in this order. Numbers and white space differ, `…` is anything."""
    words = (re.escape(word) for word in expected.split())
    pattern = r"\s*".join(re.sub(r"(\\-)?\d+(\\\.\d+)?", r"-?\\d[\\d.]*", word) for word in words)
    pattern = re.sub("─+", "─+", pattern).replace("…", r"[\s\S]*?")
    return re.search(pattern, printed) is not None


class Reader:
    """Somebody who types in a page's blocks, one after the other, in one folder and one shell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._service: subprocess.Popen[bytes] | None = None
        self._environment = self._surroundings()

    def run(self, block: Block) -> str:
        """Run a block and return what it prints. Fails if it fails or takes too long."""
        text = block.text.replace(_DEFAULT_ADDRESS, f"127.0.0.1:{self._port}")
        if block.language == "sh" and _SERVE.search(text):
            self._serve(text)
            return self._log.read_text("utf-8", errors="replace")
        command = [sys.executable, "-c", text] if block.language == "python" else ["bash", "-c", self._in_shell(text)]
        with (self._folder / ".printed").open("w+", encoding="utf-8", errors="replace") as printed:
            process = self._start(command, printed.fileno())
            try:
                status = process.wait(BLOCK_SECONDS)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                _end(process, signal.SIGKILL)
            printed.seek(0)
            words = printed.read()
        took_too_long = f"{block} takes more than {BLOCK_SECONDS:.0f} s\n{words}"
        assert status is not None, took_too_long
        assert status == 0, f"{block} exits with {status}\n{words}"
        return words

    def close(self) -> None:
        """Stop the service."""
        if self._service is not None:
            _end(self._service, signal.SIGTERM)
            self._service = None

    @property
    def _log(self) -> Path:
        return self._folder / ".service"

    def _in_shell(self, text: str) -> str:
        """Variables of one block are known in the next."""
        return f"set -eua; [ ! -f .variables ] || . ./.variables\n{text}\nexport -p > .variables"

    def _serve(self, text: str) -> None:
        self.close()
        with self._log.open("wb") as log:
            self._service = self._start(["bash", "-c", self._in_shell(text)], log.fileno())
        until(self._ready, _START_SECONDS)

    def _ready(self) -> bool:
        assert self._service is not None and self._service.poll() is None, self._log.read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/ready", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _start(self, command: list[str], printed: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )

    def _surroundings(self) -> dict[str, str]:
        """The environment of somebody who has just installed this project: no settings, no keys, no network needed."""
        programs = self._folder / ".programs"
        programs.mkdir()
        command = programs / "secondlook"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app "$@"\n')
        command.chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TZ")}
        path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
        ours = {"SECONDLOOK_PORT": str(self._port), "SECONDLOOK_URL": f"http://127.0.0.1:{self._port}"}
        quiet = {"HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": "ignore", "COLUMNS": "100"}
        return {**kept, **ours, **quiet, "PATH": path, "PYTHONPATH": str(ROOT)}


def reading(folder: Path) -> Iterator[Reader]:
    """A reader whose service is stopped at the end."""
    reader = Reader(folder)
    try:
        yield reader
    finally:
        reader.close()


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """End a process with all that it has started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
