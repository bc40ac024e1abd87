"""Keys: who is let in, what each may do, and how fast."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from typer.testing import CliRunner, Result

from agents.engines.scripted import ScriptedEngine
from app.access.caller import ALL_SCOPES, Quota
from app.access.keys import KeyStore
from app.cli.main import cli
from app.db.session import Database, DatabaseUnavailable
from app.errors import NotFound, Unauthorized
from app.main import create_app
from app.middleware import PUBLIC_PATHS, is_loopback
from app.settings import Settings
from tests.app.conftest import body, over_asgi

pytestmark = pytest.mark.anyio
BOOTSTRAP = "a-long-secret-of-the-operator"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def bearer(secret: str) -> dict[str, str]:
    """The header of a client that has a key."""
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def records(settings: Settings) -> Iterator[Database]:
    """The records that a service with these settings has."""
    records = Database(settings.records_url)
    records.open()
    yield records
    records.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(records: Database, clock: Clock) -> KeyStore:
    return KeyStore(records, Quota(), clock=clock)


@pytest.fixture
async def client(settings: Settings, engine: ScriptedEngine) -> AsyncIterator[httpx.AsyncClient]:
    async with over_asgi(settings, engine) as client:
        yield client


async def test_a_key_is_its_tenants(keys: KeyStore) -> None:
    made = keys.create("acme", scopes=["read"], quota={"storage_bytes": 5})
    assert re.fullmatch(r"sl_[0-9a-f]{12}_[\w-]{43}", made.secret)
    caller = await keys.authenticate(made.secret)
    assert (caller.tenant, caller.key, caller.scopes) == ("acme", made.record.id, frozenset({"read"}))
    assert caller.quota == Quota(storage_bytes=5)
    assert await keys.find(made.record.id) == caller


async def test_the_secret_is_not_kept(keys: KeyStore, settings: Settings) -> None:
    made = keys.create("acme")
    secret = made.secret[16:]
    files = [path.read_bytes() for path in settings.data_dir.glob("records*")]
    assert any(made.record.id.encode() in content for content in files)
    assert not [content for content in files if secret.encode() in content]
    assert made.secret not in repr(keys.list())


async def test_what_resembles_a_key_is_none(keys: KeyStore) -> None:
    good, other = keys.create("acme").secret, keys.create("acme").secret
    crossed = other[:16] + good[16:]
    for secret in (None, "", "x", good[:-1], good + "x", crossed, good.upper(), "sl_" + "0" * 12 + good[15:], "é"):
        with pytest.raises(Unauthorized):
            await keys.authenticate(secret)


async def test_a_key_ends_when_it_expires(keys: KeyStore, clock: Clock) -> None:
    made = keys.create("acme", seconds=60)
    clock.now += 59
    assert keys.state(keys.list()[0]) == "active"
    await keys.authenticate(made.secret)
    clock.now += 1
    assert keys.state(keys.list()[0]) == "expired"
    with pytest.raises(Unauthorized):
        await keys.authenticate(made.secret)
    assert await keys.find(made.record.id) is None


async def test_a_revoked_key_is_over_and_cannot_come_back(keys: KeyStore) -> None:
    made = keys.create("acme")
    keys.revoke(made.record.id)
    with pytest.raises(Unauthorized):
        await keys.authenticate(made.secret)
    for again in (lambda: keys.revoke(made.record.id), lambda: keys.rotate(made.record.id, 0)):
        with pytest.raises(NotFound):
            again()


async def test_after_a_rotation_both_secrets_are_good_for_a_while(keys: KeyStore, clock: Clock) -> None:
    first = keys.create("acme", scopes=["read"])
    second = keys.rotate(first.record.id, grace=60)
    assert await keys.authenticate(first.secret) == await keys.authenticate(second.secret)
    clock.now += 60
    await keys.authenticate(second.secret)
    with pytest.raises(Unauthorized):
        await keys.authenticate(first.secret)


async def test_without_a_key_the_service_is_open_until_there_has_been_one(keys: KeyStore) -> None:
    for secret in (None, "whatever a client must send"):
        caller = await keys.authenticate(secret)
        assert (caller.tenant, caller.key, caller.scopes) == ("local", "local", ALL_SCOPES)
        assert caller.quota.requests_per_minute is None
    keys.revoke(keys.create("acme").record.id)
    with pytest.raises(Unauthorized):
        await keys.authenticate(None)


async def test_what_another_process_changes_is_heeded_within_the_time_that_a_key_is_trusted(
    records: Database, clock: Clock
) -> None:
    here, there = KeyStore(records, Quota(), clock=clock, cache_seconds=1.0), KeyStore(records, Quota(), clock=clock)
    assert (await here.authenticate(None)).tenant == "local"
    first, other = there.create("acme"), there.create("beta")
    clock.now += 1
    with pytest.raises(Unauthorized):
        await here.authenticate(None)
    assert (await here.authenticate(first.secret)).tenant == "acme"
    second = there.rotate(first.record.id, grace=0)
    assert await here.authenticate(second.secret) == await here.authenticate(second.secret), "nobody is refused unread"
    assert (await here.authenticate(other.secret)).tenant == "beta"
    there.revoke(first.record.id)
    clock.now += 0.5
    assert (await here.authenticate(second.secret)).tenant == "acme"
    clock.now += 0.5
    with pytest.raises(Unauthorized):
        await here.authenticate(second.secret)


async def test_a_trusted_key_takes_no_transaction(records: Database, clock: Clock) -> None:
    keys = KeyStore(records, Quota(), clock=clock, cache_seconds=1.0)
    made = keys.create("acme", seconds=0.75)
    caller = await keys.authenticate(made.secret)
    records.close()
    clock.now += 0.5
    assert await keys.authenticate(made.secret) == caller
    clock.now += 0.25
    with pytest.raises(DatabaseUnavailable):
        await keys.authenticate(made.secret)


async def test_the_operators_own_key_is_for_the_tenant_that_was_there_without_keys(records: Database) -> None:
    keys = KeyStore(records, Quota(requests_per_minute=7), BOOTSTRAP)
    caller = await keys.authenticate(BOOTSTRAP)
    assert (caller.tenant, caller.key, caller.quota.requests_per_minute) == ("local", "bootstrap", 7)
    for secret in (None, BOOTSTRAP[:-1], BOOTSTRAP + " "):
        with pytest.raises(Unauthorized):
            await keys.authenticate(secret)


async def test_every_route_is_closed_but_the_public_ones(settings: Settings, engine: ScriptedEngine) -> None:
    closed = settings.model_copy(update={"api_key": SecretStr(BOOTSTRAP)})
    paths = create_app(closed, engine).openapi()["paths"]
    routes = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(routes) >= 8
    async with over_asgi(closed, engine) as client:
        for method, path in [*routes, ("GET", "/v1/nothing"), ("GET", "/metrics"), ("PUT", "/v1/answers")]:
            response = await client.request(method, path, content=b"{")
            assert (response.status_code == 401) == (path not in PUBLIC_PATHS), path
        for path in PUBLIC_PATHS - {"/redoc"}:
            assert (await client.get(path)).status_code == 200
    operations = [operation for methods in paths.values() for operation in methods.values()]
    assert sum("security" in operation for operation in operations) == len(routes) - 2  # health and ready


async def test_a_refused_key_is_told_so_in_openais_form(
    client: httpx.AsyncClient, keys: KeyStore, video_path: Path
) -> None:
    keys.create("acme")
    cases = {
        "missing_api_key": {},
        "invalid_api_key": bearer("x"),
        "invalid_api_key ": {"authorization": "Basic x"},
    }
    for code, headers in cases.items():
        response = await client.post("/v1/answers", json=body(video_path), headers=headers)
        error = response.json()["error"]
        assert (response.status_code, error["type"], error["code"]) == (401, "authentication_error", code.strip())
        assert response.headers["www-authenticate"] == "Bearer"


NEEDS = {
    "POST /v1/answers": "answer",
    "POST /v1/chat/completions": "answer",
    "POST /v1/runs/{run_id}/cancel": "answer",
    "POST /v1/runs/{run_id}/resume": "answer",
    "POST /v1/indexes": "answer",
    "GET /v1/indexes": "read",
    "GET /v1/indexes/{index_id}": "read",
    "DELETE /v1/indexes/{index_id}": "files",
    "POST /v1/search": "read",
    "POST /v1/files": "files",
    "DELETE /v1/files/{file_id}": "files",
    "GET /v1/files": "read",
    "GET /v1/files/{file_id}": "read",
    "GET /v1/files/{file_id}/content": "read",
    "GET /v1/runs": "read",
    "GET /v1/runs/{run_id}": "read",
    "GET /v1/runs/{run_id}/events": "read",
    "GET /v1/models": None,
    "GET /v1/models/{model}": None,
    "GET /v1/strategies": None,
    "GET /metrics": "metrics",
}


def test_somebody_has_thought_of_the_scope_of_every_route(settings: Settings, engine: ScriptedEngine) -> None:
    paths = create_app(settings, engine).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert routes - {f"GET {path}" for path in PUBLIC_PATHS} == NEEDS.keys()


async def test_each_route_needs_its_scope(client: httpx.AsyncClient, keys: KeyStore, video_path: Path) -> None:
    for scope in ALL_SCOPES:
        headers = bearer(keys.create("acme", scopes=[scope], quota={"requests_per_minute": None}).secret)
        for route, needed in NEEDS.items():
            response = await client.request(*route.split(), json=body(video_path), headers=headers)
            assert (response.status_code == 403) == (needed not in (None, scope)), (scope, route)
            if response.status_code == 403:
                assert response.json()["error"]["code"] == "missing_scope"


async def test_a_key_may_send_so_many_requests_a_minute(client: httpx.AsyncClient, keys: KeyStore) -> None:
    fast, slow = keys.create("acme"), keys.create("acme", quota={"requests_per_minute": 3})
    statuses = [(await client.get("/v1/models", headers=bearer(slow.secret))).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = await client.get("/v1/models", headers=bearer(slow.secret))
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert (await client.get("/v1/models", headers=bearer(fast.secret))).status_code == 200
    assert (await client.get("/health", headers=bearer(slow.secret))).status_code == 200


async def test_a_run_is_kept_within_the_keys_quota(client: httpx.AsyncClient, keys: KeyStore, video_path: Path) -> None:
    headers = bearer(keys.create("acme", quota={"frames_per_run": 3}).secret)
    report = (await client.post("/v1/answers", json=body(video_path), headers=headers)).json()["report"]
    assert report["frames_viewed"] == 3


async def test_without_keys_only_this_machine_is_answered(settings: Settings, engine: ScriptedEngine) -> None:
    app = create_app(settings, engine)
    async with app.router.lifespan_context(app):
        for peer, host, status, code in (
            ("127.0.0.1", "localhost:8000", 200, None),
            ("::1", "[::1]:8000", 200, None),
            ("127.0.0.1", "evil.example", 403, "foreign_host"),
            ("127.0.0.1", "localhost.evil.example", 403, "foreign_host"),
            ("192.0.2.1", "localhost", 401, "no_keys"),
        ):
            transport = httpx.ASGITransport(app, client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                response = await client.get("/v1/models", headers={"host": host})
                assert response.status_code == status
                assert code is None or response.json()["error"]["code"] == code
                assert (await client.get("/health", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "example.com", "127.0.0.1.example.com"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def command(*line: str, **environment: str) -> Result:
    """What a command did."""
    return CliRunner().invoke(
        cli, line, env={f"SECONDLOOK_{name.upper()}": value for name, value in environment.items()}
    )


def test_keys_on_the_command_line(tmp_path: Path) -> None:
    data = str(tmp_path)
    made = command(
        "keys", "create", "acme", "--scope", "read", "--limit", "storage_bytes=5", "--days", "3", data_dir=data
    )
    assert made.exit_code == 0
    assert re.fullmatch(r"sl_[0-9a-f]{12}_[\w-]{43}\n", made.stdout)
    listed = command("keys", "list", "--json", data_dir=data)
    (card,) = json.loads(listed.stdout)
    assert (card["tenant"], card["state"], card["scopes"], card["limits"]) == (
        "acme",
        "active",
        ["read"],
        {"storage_bytes": 5},
    )
    assert card["expires_at"] is not None
    shown = command("keys", "list", data_dir=data).stdout
    assert card["id"] in shown
    assert made.stdout.strip() not in shown + listed.stdout
    rotated = command("keys", "rotate", card["id"], "--json", data_dir=data)
    assert json.loads(rotated.stdout)["secret"] != made.stdout.strip()
    assert command("keys", "revoke", card["id"], data_dir=data).exit_code == 0
    assert json.loads(command("keys", "list", "--json", data_dir=data).stdout)[0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (["create", "a", "--scope", "everything"], 2, "everything"),
        (["create", "a", "--limit", "storage_bytes"], 2, "NAME=NUMBER"),
        (["create", "a", "--limit", "storage_bytes=much"], 2, "storage_bytes"),
        (["create", "a", "--limit", "storage=5"], 2, "storage"),
        (["revoke", "nothing"], 3, "nothing"),
    ],
)
def test_bad_key_commands(tmp_path: Path, line: list[str], code: int, words: str) -> None:
    result = command("keys", *line, data_dir=str(tmp_path))
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_a_service_without_keys_does_not_listen_for_others(tmp_path: Path, host: str) -> None:
    result = command("serve", "--host", host, "--engine", "scripted:", data_dir=str(tmp_path))
    assert result.exit_code == 4
    assert "keys create" in result.stderr


@pytest.mark.parametrize(("name", "value"), [("records", "nonsense://x"), ("blobs", "nonsense://x")])
def test_a_place_that_cannot_be_used_ends_the_start_with_words(tmp_path: Path, name: str, value: str) -> None:
    result = command("serve", "--engine", "scripted:", data_dir=str(tmp_path), **{name: value})
    assert result.exit_code == 4
    assert f"SECONDLOOK_{name.upper()}" in result.stderr


def test_a_short_key_of_the_operator_is_refused(tmp_path: Path) -> None:
    result = command("serve", "--engine", "scripted:", data_dir=str(tmp_path), api_key="short")
    assert result.exit_code == 2
    assert "api_key" in result.stderr
    assert "short" not in result.stderr.replace("too short", "").replace("shorter", "")


def test_records_of_a_newer_version_end_the_start_with_words(tmp_path: Path) -> None:
    records = Database(Settings(data_dir=tmp_path).records_url)
    records.open()
    records.write_sync(lambda session: session.execute(text("UPDATE version SET version = 99")))
    records.close()
    result = command("serve", "--engine", "scripted:", data_dir=str(tmp_path))
    assert result.exit_code == 4
    assert "99" in result.stderr
