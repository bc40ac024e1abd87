"""A program that takes vLLM's arguments and behaves like its server, well or badly as further arguments tell it.

What it goes through is in its diary, one JSON object a line, over all its lives.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.agents.engines.stub import models, talkative

ROOT = Path(__file__).parents[3]
_SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def interpreter(folder: Path) -> Path:
    """An interpreter for `?python=`: whatever module it is told to run, it runs this one."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {__file__} "$@"\n')
    path.chmod(0o755)
    return path


@dataclass(frozen=True)
class Diary:
    """What the server went through."""

    path: Path

    def write(self, event: str, **facts: Any) -> None:
        """Add an event, in one write: several threads do."""
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps({"event": event, "at": time.monotonic(), **facts}).encode() + b"\n")

    def read(self, *events: str) -> list[dict[str, Any]]:
        """All events of some kinds, in order."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [found for line in lines if (found := json.loads(line))["event"] in events]

    @property
    def pids(self) -> list[int]:
        """Every process there has been: the server's, in each of its lives, and its children's."""
        return [pid for born in self.read("born") for pid in born["pids"]]


def main() -> None:
    """Live as told."""
    options = _options()
    diary = Diary(options.diary)
    lives = len(diary.read("born"))
    pids = [os.getpid(), os.getppid()]
    if options.offspring:  # as vLLM's engine core does, in another process; as none does, in another session
        child = subprocess.Popen([sys.executable, "-c", _SLEEPER], start_new_session=True)
        pids.append(child.pid)
    diary.write("born", pids=pids, arguments=sys.argv, key=os.environ.get("VLLM_API_KEY"), environment=[*os.environ])
    sys.stdout.write(
        f"(APIServer pid={os.getpid()}) INFO 11-21 11:14:54 [api_server.py:1] key {os.environ['VLLM_API_KEY']}\n"
    )
    if options.words:
        sys.stdout.write(options.words.read_text())
    sys.stdout.flush()
    if lives >= options.lives:
        sys.exit(options.status)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.deaf else _leave(diary))
    _serve(options, diary)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--diary", type=Path, required=True)
    parser.add_argument("--loading", type=float, default=0, help="seconds until it is healthy")
    parser.add_argument("--words", type=Path, help="what it says when it starts, as file")
    parser.add_argument("--lives", type=int, default=1000, help="how many starts succeed; the others end at once")
    parser.add_argument("--status", type=int, default=1, help="with which they end")
    parser.add_argument("--deaf", action="store_true", help="does not end when asked to")
    parser.add_argument("--offspring", action="store_true", help="has a child that is deaf")
    parser.add_argument("--slow", type=float, default=0, help="seconds that each reply takes")
    options, _ = parser.parse_known_args()
    return options


def _leave(diary: Diary) -> Any:
    def leave(*_: object) -> None:
        diary.write("asked to end")
        sys.exit(0)

    return leave


def _serve(options: argparse.Namespace, diary: Diary) -> None:
    healthy = time.monotonic() + options.loading

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            """Health, and the list of models."""
            if self.path == "/health":
                self._send({}, 200 if time.monotonic() >= healthy else 503)
            elif self.path == "/v1/models":
                self._send(models("vllm"), 200)
            else:
                self._send({"detail": "Not Found"}, 404)

        def do_POST(self) -> None:
            """A chat completion."""
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            key = os.environ["VLLM_API_KEY"]
            if self.headers.get("authorization") != f"Bearer {key}":
                return self._send({"error": {"message": "Unauthorized"}}, 401)
            if not self.path.endswith("/chat/completions"):
                return self._send({"detail": "Not Found"}, 404)
            diary.write("asked", kind=_kind(body))
            time.sleep(options.slow)
            answer = talkative(body)
            return self._send(answer.body, answer.status)

        def _send(self, body: Any, status: int) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


def _kind(body: dict[str, Any]) -> list[str]:
    contents = [each["content"] for each in body["messages"] if isinstance(each["content"], list)]
    seen = any(part["type"] != "text" for content in contents for part in content)
    return [name for name, is_so in (("pictures", seen), ("guided", "structured_outputs" in body)) if is_so]


if __name__ == "__main__":
    main()
