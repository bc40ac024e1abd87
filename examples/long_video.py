"""Caption a long video once, search in it, and let the planner find what an even look misses."""

import os
import sys
import time
from pathlib import Path

import httpx

URL = os.environ.get("SECONDLOOK_URL", "http://127.0.0.1:8000")
BUILT = {"complete", "partial", "failed"}


def main(video: Path) -> None:
    key = os.environ.get("SECONDLOOK_API_KEY", "any")
    with httpx.Client(base_url=URL, timeout=300, headers={"authorization": f"Bearer {key}"}) as client:
        uploaded = client.post("/v1/files", files={"file": video.open("rb")}).raise_for_status().json()
        body = {"video": uploaded["id"]}
        if (subtitles := video.with_suffix(".srt")).exists():
            body["subtitles"] = subtitles.read_text()
        index = client.post("/v1/indexes", json=body).raise_for_status().json()
        while index["status"] not in BUILT:
            time.sleep(1)
            index = client.get(f"/v1/indexes/{index['id']}").raise_for_status().json()
        print(f"index {index['status']}: {index['cost']['calls']} captions, {index['subtitles']} lines of subtitles")

        found = client.post("/v1/search", json={"query": "blue circle", "video": uploaded["id"], "k": 3}).json()
        for hit in found["data"]:
            print(f"  {hit['start']:6.0f} to {hit['end']:.0f} s  {hit['text']}")

        question = {
            "video": uploaded["id"],
            "question": "Which name is said when the blue circle appears?",
            "options": ["Dora", "Ben", "Ines", "Finn"],
        }
        for strategy in ({"name": "direct", "frames": 64}, "planner"):
            answer = client.post("/v1/answers", json={**question, "strategy": strategy}).raise_for_status().json()
            report = answer["report"]
            print(f"{report['strategy']['name']}: {answer['answer']}, {report['frames_viewed']} frames shown")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "long.mp4"))
