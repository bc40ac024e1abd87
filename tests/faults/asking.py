"""Requests that the fault tests send again and again."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import httpx

from tests.videos import VideoScript, steady

HALF_AN_UPLOAD = b"\r\n".join(
    (
        b"POST /v1/files HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: multipart/form-data; boundary=cut",
        b"Content-Length: 1000000",
        b"",
        b"--cut",
        b'Content-Disposition: form-data; name="purpose"',
        b"",
        b"user_data",
        b"--cut",
        b'Content-Disposition: form-data; name="file"; filename="film.mp4"',
        b"",
        bytes(500_000),
    )
)
"""The first half of an upload, with more of the video to come."""


def video_bytes(folder: Path) -> bytes:
    """A video of two seconds."""
    return VideoScript(".mp4", times=steady(50), muxer={"movflags": "faststart"}).shoot(folder).read_bytes()


def padded(video: bytes, number: int, size: int = 8) -> bytes:
    """The same video with another content: a box at its end that says nothing."""
    return video + struct.pack(">I4sQ", 16 + size, b"free", number) + bytes(size)


async def upload(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    """Send a video."""
    return await client.post("/v1/files", files={"file": ("film.mp4", content)}, data={"purpose": "user_data"})


def question(video: Any, **fields: Any) -> dict[str, Any]:
    """A question about a video."""
    return {"video": video, "question": "What?", "options": ["this", "that"], "strategy": "direct", **fields}


async def ask(client: httpx.AsyncClient, video: Any, **fields: Any) -> httpx.Response:
    """Ask it."""
    return await client.post("/v1/answers", json=question(video, **fields))
