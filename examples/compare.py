"""Ask the same question with two strategies at once, and compare answer, confidence and cost."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import httpx

URL = os.environ.get("SECONDLOOK_URL", "http://127.0.0.1:8000")
STRATEGIES = ({"name": "direct", "frames": 8}, {"name": "until_confident", "threshold": 0.95})
QUESTION = {"question": "Which shape is blue?", "options": ["cross", "triangle", "circle", "diamond"]}


async def main(video: Path) -> None:
    key = os.environ.get("SECONDLOOK_API_KEY", "any")
    async with httpx.AsyncClient(base_url=URL, timeout=120, headers={"authorization": f"Bearer {key}"}) as client:
        uploaded = (await client.post("/v1/files", files={"file": video.open("rb")})).raise_for_status().json()
        answers = await asyncio.gather(*(ask(client, uploaded["id"], strategy) for strategy in STRATEGIES))
    print(f"{'strategy':16} {'answer':10} {'sure':>5} {'frames':>7} {'calls':>6} {'tokens':>7} {'seconds':>8}")
    for answer in answers:
        report = answer["report"]
        sure = "?" if answer["confidence"] is None else f"{answer['confidence']:.0%}"
        tokens = report["prompt_tokens"] + report["completion_tokens"]
        print(
            f"{report['strategy']['name']:16} {answer['answer'] or 'none':10} {sure:>5} {report['frames_viewed']:7} "
            f"{report['calls']:6} {tokens:7} {report['seconds']['total']:8.2f}"
        )


async def ask(client: httpx.AsyncClient, file: str, strategy: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/v1/answers", json={"video": file, "strategy": strategy, **QUESTION})
    return response.raise_for_status().json()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "video.mp4")))
