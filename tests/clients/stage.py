"""Two services with real keys, videos that the demo model knows, and what our own route answers about them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import httpx

from agents.demo.encoder import encode_video
from agents.demo.generator import TEST_FROM, make_video
from agents.demo.questions import DemoQuestion, ask_about
from tests.model_server import modelling
from tests.service import ROOT, Service, serving

VIDEOS = 20
A_VIDEO = 3  # questions about each
FRAMES = 16
SLOW = 1.0
"""Seconds that the second service's model takes for each call."""


@dataclass(frozen=True)
class Asked:
    """A question with options about a video."""

    video: Path
    question: DemoQuestion

    @property
    def words(self) -> str:
        """The question and its options, as benchmarks write them."""
        options = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", self.question.options, strict=True))
        return f"{self.question.text}\n{options}\nAnswer with the option's letter from the given choices directly."


@dataclass(frozen=True)
class Stage:
    """A service with the demo model and one whose model is slow, each with a key; `other` is another tenant's."""

    service: Service
    key: str
    other: str
    slow: Service
    slow_key: str
    videos: Path
    site: str
    asked: Sequence[Asked]

    def native(self, asked: Asked, pictures: Sequence[str] = ()) -> str:
        """The letter that our own route answers about the video, or about pictures of it."""
        shown = {"pictures": [{"url": url} for url in pictures]} if pictures else {"path": asked.video.name}
        body = {
            "video": shown,
            "question": asked.question.text,
            "options": asked.question.options,
            "strategy": {"name": "direct", "frames": FRAMES},
        }
        headers = {"authorization": f"Bearer {self.key}"}
        response = httpx.post(f"{self.service.url}/v1/answers", json=body, headers=headers, timeout=60, trust_env=False)
        response.raise_for_status()
        return str(response.json()["option"])

    def told(self, count: int = 3) -> dict[str, Any]:
        """What a client in another process must know."""
        return {
            "base": f"{self.service.url}/v1",
            "key": self.key,
            "other": self.other,
            "model": "demo",
            "slow_base": f"{self.slow.url}/v1",
            "slow_key": self.slow_key,
            "slow_model": "stub-vl",
            "questions": [self._told(each) for each in self.asked[:count]],
        }

    def _told(self, asked: Asked) -> dict[str, Any]:
        frames = pictures(asked.video)
        return {
            "video": str(asked.video),
            "url": f"{self.site}/{asked.video.name}",
            "text": asked.words,
            "letter": self.native(asked),
            "frames": frames,
            "pictured_letter": self.native(asked, frames),
        }


def pictures(video_path: Path) -> list[str]:
    """Frames of a video at even distances, as data: URLs of JPEG files."""
    with av.open(video_path) as container:
        frames = list(container.decode(video=0))
    found = []
    for number in range(FRAMES):
        file = io.BytesIO()
        frames[len(frames) * number // FRAMES].to_image().save(file, "JPEG", quality=95)  # type: ignore[no-untyped-call]
        found.append(f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}")
    return found


def shoot(folder: Path, videos: int = VIDEOS) -> list[Asked]:
    """Questions about videos of the range that nobody trained on; the videos are in the folder."""
    found = []
    for seed in range(TEST_FROM + 700, TEST_FROM + 700 + videos):
        video, path = make_video(seed), folder / f"{seed}.mp4"
        encode_video(video, path)
        choices = [each for each in ask_about(video, 4 * A_VIDEO) if each.options]
        found += [Asked(path, question) for question in choices[:A_VIDEO]]
    return found


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Everything, running."""
    videos = folder / "films"
    videos.mkdir()
    asked = shoot(videos)
    with ExitStack() as stack:
        site = stack.enter_context(_site(videos))
        mine, slow = folder / "demo", folder / "slow"
        mine_key, other, slow_key = key(mine, "mine"), key(mine, "other"), key(slow, "mine")
        private = json.dumps([site.removeprefix("http://")])
        service = stack.enter_context(serving(mine, engine="demo:", video_dir=videos, fetch_private=private))
        model = stack.enter_context(modelling(SLOW))
        held = stack.enter_context(serving(slow, engine=model.engine, video_dir=videos))
        yield Stage(service, mine_key, other, held, slow_key, videos, site, asked)


def key(folder: Path, tenant: str) -> str:
    """A key of a service that keeps its data under a folder, made as an operator makes it."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "SECONDLOOK_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-m", "app", "keys", "create", tenant]
    made = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return made.stdout.strip()


@contextmanager
def _site(folder: Path) -> Iterator[str]:
    """A web server with the files of a folder; its address."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""
