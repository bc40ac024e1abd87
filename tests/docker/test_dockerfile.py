"""The images are small, pinned, unprivileged, and start what this project installs."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch

import pytest

from app.cli.main import cli
from app.main import create_app
from app.settings import Settings
from tests.docker.probe import exit_code
from tests.docker.recipe import ROOT, stages, steps, value, words

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_one_base_in_full_version() -> None:
    names = set(stages())
    foreign = [rest.split()[0] for name, rest in steps() if name == "FROM" and rest.split()[0] not in names]
    assert len(foreign) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", foreign[0])


def test_the_last_stage_is_the_service() -> None:
    assert list(stages())[-1] == "app"


@pytest.mark.parametrize(("image", "source"), [("app", "build"), ("demo", "build-demo")])
def test_an_image_takes_its_own_environment_and_nothing_else(image: str, source: str) -> None:
    assert value(image, "FROM").startswith("runtime ")
    assert value(image, "COPY") == f"--from={source} /opt/venv /opt/venv"
    assert not [rest for name, rest in stages()[image] if name == "RUN"]


def test_torch_is_in_the_demo_only() -> None:
    assert ".[local]" in value("build-demo", "RUN")
    assert not [rest for _, rest in stages()["build"] if "local" in rest or "torch" in rest]


def test_torch_comes_from_an_index_that_the_builder_names() -> None:
    assert value("build-demo", "ARG") == 'TORCH_INDEX=""'
    (pin,) = [each for each in PROJECT["optional-dependencies"]["local"] if each.startswith("torch==")]
    assert f'--no-deps --index-url "$TORCH_INDEX" "{pin}"' in value("build-demo", "RUN")


def test_all_that_is_installed_is_locked() -> None:
    lock = f"{value('build', 'WORKDIR')}/lock.txt"
    assert value("build", "ENV").split() == [f"PIP_CONSTRAINT={lock}", f"PIP_BUILD_CONSTRAINT={lock}"]
    assert value("build-demo", "FROM").startswith("build ")
    copied, installed = (
        next(at for at, (_, rest) in enumerate(stages()["build"]) if word in rest)
        for word in ("lock.txt README", " install ")
    )
    assert copied < installed


def test_nothing_is_left_of_building() -> None:
    for name, rest in steps():
        assert not re.search(r"\bapt|\bgcc|build-essential|\bcurl|\bwget", rest)
        assert name != "ADD"
        if name == "RUN" and "install " in rest and "pip " in rest:
            assert rest.startswith("--mount=type=cache,target=/var/cache/pip ")
    assert "PIP_CACHE_DIR=/var/cache/pip" in value("base", "ENV")


def test_no_address_of_a_registry_is_written_down() -> None:
    for path in (*(ROOT / "docker").iterdir(), ROOT / "compose.yaml"):
        hosts = set(re.findall(r"https?://([\w.-]+)", path.read_text("utf-8")))
        assert hosts <= {"127.0.0.1", "vllm"}, path.name


def test_runs_as_nobody_in_particular() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", value("runtime", "USER"))
    assert not [rest for image in ("app", "demo") for name, rest in stages()[image] if name == "USER"]


def test_starts_a_command_that_exists() -> None:
    (entry,) = words("runtime", "ENTRYPOINT")
    assert entry in PROJECT["scripts"]
    command, *options = words("runtime", "CMD")
    assert command in {each.name or each.callback.__name__ for each in cli.registered_commands if each.callback}
    assert options == ["--host", "0.0.0.0"]


def test_health_is_readiness_on_the_port_of_the_service() -> None:
    port = Settings.model_fields["port"].default
    assert value("runtime", "EXPOSE") == str(port)
    assert f"'127.0.0.1', {port}," in words("runtime", "HEALTHCHECK")[-1]
    assert "/ready" in create_app(Settings(engine="scripted:")).openapi()["paths"]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_tells_ready_from_not_ready(status: int | None, healthy: bool) -> None:
    assert (exit_code(words("runtime", "HEALTHCHECK"), "/ready", status) == 0) is healthy


def test_only_sources_enter_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source
        for name, rest in steps()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert let_in == copied
    assert not [name for name in (".env", ".git", "data", "tests", ".venv") if any(fnmatch(name, r) for r in let_in)]
