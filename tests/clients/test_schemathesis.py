"""Schemathesis: whatever the API's own description allows and forbids, sent by two tenants."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx

from tests.clients.install import ensure
from tests.clients.stage import key, shoot
from tests.service import serving

SECONDS = 60
_TENANTS = ("mine", "other")
# What may be answered to a request that the schema allows. Anywhere: that there is no such thing. 400 where one value
# must be larger than another or a conversation must end with a question; 403 for what this operator does not allow; 409
# for an Idempotency-Key that was used; 422 for bytes that are no video. Whatever else is refused, the schema must say.
_ANYWHERE = ["2xx", "404"]
_WHERE = {
    "/v1/files": ["422"],
    "/v1/answers": ["400", "403", "409", "422"],
    "/v1/chat/completions": ["400", "403", "409", "422"],
    "/v1/indexes": ["400", "403", "422"],
    "/v1/search": ["400", "403", "422"],
}
_CONFIG = f"""
warnings = false
[auth.wfc]
path = "users.json"
user = "{_TENANTS[0]}"
peers = {json.dumps(_TENANTS)}
[checks.positive_data_acceptance]
expected-statuses = {json.dumps(_ANYWHERE)}
""" + "".join(
    f"""
[[operations]]
include-name = "POST {path}"
[operations.checks.positive_data_acceptance]
expected-statuses = {json.dumps([*_ANYWHERE, *more])}
"""
    for path, more in _WHERE.items()
)


def test_all_checks(tmp_path: Path, surroundings: dict[str, str]) -> None:
    program = ensure("schemathesis").with_name("schemathesis")
    keys = {name: key(tmp_path / "service", name) for name in _TENANTS}
    users = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {secret}"}]}
        for name, secret in keys.items()
    ]
    (tmp_path / "users.json").write_text(json.dumps({"auth": users}))
    (tmp_path / "schemathesis.toml").write_text(_CONFIG)
    video = shoot(tmp_path, 1)[0].video
    with serving(tmp_path / "service", engine="scripted:Answer: A", fetch=False) as service:
        _belongings(service.url, keys["mine"], video)  # so that there is something to find
        command = [str(program), "run", f"{service.url}/openapi.json", "--checks=all", "--continue-on-failure"]
        command += ["--no-shrink", "--max-examples=5", f"--max-time={SECONDS}", "--seed=1"]
        done = subprocess.run(
            command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=6 * SECONDS
        )
        print(f"{done.stdout}\n{done.stderr}")
        assert done.returncode == 0
        assert not service.complaints()
        # What it found it may have deleted. Whatever it had time for, this is tried: what the first tenant has now.
        for path in _belongings(service.url, keys["mine"], video):
            assert [_status(service.url + path, secret) for secret in keys.values()] == [200, 404]


def _status(url: str, secret: str) -> int:
    return httpx.get(url, headers={"authorization": f"Bearer {secret}"}, trust_env=False, timeout=60).status_code


def _belongings(url: str, secret: str, video_path: Path) -> list[str]:
    """Give a tenant a file and a run; where they are."""
    headers = {"authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client:
        file = client.post("/v1/files", files={"file": ("film.mp4", video_path.read_bytes())}).json()["id"]
        body = {"video": file, "question": "What?", "options": ["this", "that"], "strategy": "direct"}
        run = client.post("/v1/answers", json=body).json()["id"]
    return [f"/v1/files/{file}", f"/v1/files/{file}/content", f"/v1/runs/{run}", f"/v1/runs/{run}/events"]
