"""Follow an answer while it is made: each step as it happens, the model's words as it writes them."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

URL = os.environ.get("SECONDLOOK_URL", "http://127.0.0.1:8000")


def main(video: Path) -> None:
    key = os.environ.get("SECONDLOOK_API_KEY", "any")
    with httpx.Client(base_url=URL, timeout=120, headers={"authorization": f"Bearer {key}"}) as client:
        uploaded = client.post("/v1/files", files={"file": video.open("rb")}).raise_for_status().json()
        body = {
            "video": uploaded["id"],
            "question": "Does a yellow circle appear?",
            "kind": "yesno",
            "strategy": "chain_of_thought",
            "stream": True,
        }
        with client.stream("POST", "/v1/answers", json=body) as response:
            response.raise_for_status()
            for name, data in events(response.iter_lines()):
                show(name, data)


def events(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events: `event: NAME` and `data: JSON`, then an empty line. Lines that begin with ":" are pings."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def show(name: str, data: dict[str, Any]) -> None:
    match name:
        case "looked":
            print(f"looked at {len(data['times'])} frames")
        case "asked":
            print(f"asked ({data['purpose']}): {data['replies']}")
        case "delta":
            print(f"  … {data.get('text', '')!r}")
        case "answer":
            print(f"answer: {data['answer']}, confidence {data['confidence']}")
        case "error":
            sys.exit(data["error"]["message"])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "video.mp4"))
