"""Start a run in the background, cancel it, resume it, wait for it, and read what happened.

A run that the service could not finish, because it was stopped, is resumed in the same way.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx

URL = os.environ.get("SECONDLOOK_URL", "http://127.0.0.1:8000")
OVER = {"completed", "failed", "cancelled", "interrupted"}


def main(video: Path) -> None:
    key = os.environ.get("SECONDLOOK_API_KEY", "any")
    with httpx.Client(base_url=URL, timeout=60, headers={"authorization": f"Bearer {key}"}) as client:
        uploaded = client.post("/v1/files", files={"file": video.open("rb")}).raise_for_status().json()
        body = {
            "video": uploaded["id"],
            "question": "Which shape is blue?",
            "options": ["cross", "triangle", "circle", "diamond"],
            "strategy": {"name": "self_consistency", "samples": 32, "stop": "fixed"},
            "background": True,
        }
        run = client.post("/v1/answers", json=body).raise_for_status().json()
        print(f"{run['id']} is {run['status']}")

        client.post(f"/v1/runs/{run['id']}/cancel").raise_for_status()
        run = wait(client, run["id"])
        print(f"it is {run['status']}; resumable: {run['resumable']}")

        client.post(f"/v1/runs/{run['id']}/resume").raise_for_status()
        run = wait(client, run["id"])
        print(f"it is {run['status']} in attempt {run['attempts']}: {run['response']['answer']}")
        print(f"its trace has {len(run['events'])} events; the last is {run['events'][-1]['event']['event']}")


def wait(client: httpx.Client, run_id: str) -> dict[str, Any]:
    while True:
        run = client.get(f"/v1/runs/{run_id}").raise_for_status().json()
        if run["status"] in OVER:
            return run
        time.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "video.mp4"))
