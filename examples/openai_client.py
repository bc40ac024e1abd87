"""Ask through OpenAI's client, unmodified. The video is a local file; small ones may go into the request as well."""

import os
import sys
from pathlib import Path

from openai import OpenAI

URL = os.environ.get("SECONDLOOK_URL", "http://127.0.0.1:8000")
QUESTION = """Which shape is blue?
A. cross
B. triangle
C. circle
D. diamond
Answer with the letter."""


def main(video: Path) -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("SECONDLOOK_API_KEY", "any"))
    model = client.models.list().data[0].id  # the loaded model; `MODEL:STRATEGY` chooses how it answers
    file = client.files.create(file=video, purpose="user_data")
    reply = client.chat.completions.create(
        model=f"{model}:until_confident",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "file", "file": {"file_id": file.id}},
                    {"type": "text", "text": QUESTION},
                ],
            }
        ],
        extra_body={"secondlook": {"budget": {"frames": 64, "seconds": 60}}},
    )
    report = reply.model_extra["secondlook"]["report"]
    print("answer:", reply.choices[0].message.content)
    print("frames shown:", report["frames_viewed"], "tokens:", reply.usage.total_tokens, "stopped:", report["stopped"])
    client.files.delete(file.id)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "video.mp4"))
