"""What `docker compose` starts: the right services, in order, closed to the outside, with little they may do."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]
from pydantic import SecretStr
from typer.testing import CliRunner

from agents.engines.openai.engine import OpenAIEngine
from agents.engines.registry import open_engine
from agents.engines.vllm.engine import VllmEngine
from app.cli.main import cli
from app.settings import Settings
from tests.docker.probe import exit_code
from tests.docker.recipe import ROOT, stages, value, words

TEXT = (ROOT / "compose.yaml").read_text("utf-8")
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VLLM, APP, DEMO, WEIGHTS = (SERVICES[name] for name in ("vllm", "app", "demo", "weights"))
KEY = re.compile(r"\$\{SECONDLOOK_ENGINE_KEY:\?[^}]+\}")
every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())


def lines(name: str) -> list[str]:
    """The lines of an environment file."""
    return (ROOT / "docker" / name).read_text("utf-8").splitlines()


def default(text: str) -> str:
    """A text as Compose reads it where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(text))


def flags() -> dict[str, str]:
    """The options that vLLM is started with."""
    return {name: rest for name, _, rest in (default(each).partition("=") for each in VLLM["command"][1:])}


def test_a_profile_starts_its_own_services_only() -> None:
    started = {name: service["profiles"] for name, service in SERVICES.items()}
    assert started == {"weights": ["gpu"], "vllm": ["gpu"], "app": ["gpu"], "demo": ["demo"]}


def test_the_example_makes_a_plain_up_start_the_gpu_profile_but_has_no_key() -> None:
    empty = {"COMPOSE_PROFILES=gpu", "SECONDLOOK_ENGINE_KEY=", "SECONDLOOK_API_KEY="}
    assert empty <= set(lines("example.env"))


def test_the_example_names_only_variables_that_are_read() -> None:
    named = set(re.findall(r"^#?([A-Z_]+)=", "\n".join(lines("example.env")), re.MULTILINE)) - {"COMPOSE_PROFILES"}
    read = set(re.findall(r"\$\{(\w+)", TEXT + "\n".join(lines("key.env") + lines("api.env")))) | set(
        COMPOSE["x-settings"]
    )
    assert named <= read


def test_the_key_is_required_of_whoever_uses_it_and_of_nobody_else() -> None:
    given = dict(line.split("=", 1) for line in lines("key.env") if not line.startswith("#"))
    assert given.keys() == {"VLLM_API_KEY", "SECONDLOOK_ENGINE_KEY"}
    assert all(KEY.fullmatch(value) for value in given.values())
    assert VLLM["env_file"] == "docker/key.env"
    assert "docker/key.env" in APP["env_file"]
    assert "env_file" not in WEIGHTS
    assert not re.search("ENGINE_KEY|API_KEY", re.sub(r"#.*", "", TEXT))


def test_the_service_never_listens_without_a_key_for_its_clients() -> None:
    (line,) = [line for line in lines("api.env") if not line.startswith("#")]
    name, value = line.split("=", 1)
    assert re.fullmatch(r"\$\{SECONDLOOK_API_KEY:\?[^}]+\}", value)
    assert name == "SECONDLOOK_API_KEY"
    assert Settings(api_key=SecretStr("x" * 64)).api_key is not None  # as long as the hint makes it
    assert APP["env_file"] == ["docker/key.env", "docker/api.env"]
    assert DEMO["env_file"] == "docker/api.env"


def test_a_container_without_a_key_ends_at_once_and_says_why(tmp_path: Path) -> None:
    line = words("runtime", "CMD")
    result = CliRunner().invoke(cli, line, env={"SECONDLOOK_DATA_DIR": str(tmp_path), "SECONDLOOK_ENGINE": "scripted:"})
    assert result.exit_code == 4
    assert "SECONDLOOK_API_KEY" in result.stderr


def test_only_the_app_reaches_the_engine_and_the_engine_nobody() -> None:
    assert COMPOSE["networks"]["engine"] == {"internal": True}
    assert VLLM["networks"] == ["engine"]
    assert [name for name, service in SERVICES.items() if "engine" in service["networks"]] == ["vllm", "app"]
    assert "ports" not in VLLM
    assert "ports" not in WEIGHTS


def test_ports_are_published_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert {default(port) for port in ports} == {"127.0.0.1:8000:8000"}
    assert "0.0.0.0:" not in TEXT


def test_each_waits_for_what_it_needs() -> None:
    assert APP["depends_on"] == {"vllm": {"condition": "service_healthy"}}
    assert VLLM["depends_on"] == {"weights": {"condition": "service_completed_successfully"}}
    assert VLLM["healthcheck"]["start_period"] == "30m"
    assert value("runtime", "HEALTHCHECK")


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_of_the_engine_tells_up_from_down(status: int | None, healthy: bool) -> None:
    assert (exit_code(VLLM["healthcheck"]["test"], "/health", status) == 0) is healthy


@every_service
def test_a_service_may_do_little(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert any(each.split(":")[0] == "/tmp" for each in service["tmpfs"])
    assert not {"privileged", "ipc", "pid", "network_mode", "cap_add", "devices"} & service.keys()


@every_service
def test_a_service_may_take_only_so_much(service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert default(limits["memory"]).endswith("g")
    assert limits["pids"] > 0
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@every_service
def test_a_service_keeps_its_files_in_named_volumes(service: dict[str, Any]) -> None:
    assert all(volume.split(":")[0] in COMPOSE["volumes"] for volume in service["volumes"])


def test_services_come_back_and_end_in_order() -> None:
    assert {VLLM["restart"], APP["restart"], DEMO["restart"]} == {"unless-stopped"}
    assert WEIGHTS["restart"] == "no"
    graces = [int(service["stop_grace_period"].removesuffix("s")) for service in SERVICES.values()]
    assert min(graces) > Settings.model_fields["drain_seconds"].default


def test_the_engine_alone_has_gpus_and_uses_all_of_them() -> None:
    (gpus,) = VLLM["deploy"]["resources"]["reservations"]["devices"]
    assert (gpus["driver"], gpus["capabilities"]) == ("nvidia", ["gpu"])
    assert f"--tensor-parallel-size={gpus['count']}" in VLLM["command"]
    assert not [each for each in (APP, DEMO, WEIGHTS) if "reservations" in each["deploy"]["resources"]]


def test_the_engine_is_started_as_the_app_would_start_it() -> None:
    engine = open_engine(f"vllm:{default(VLLM['command'][0])}")
    assert isinstance(engine, VllmEngine)
    command = engine.supervisor.program.command
    ours = dict(each.partition("=")[::2] for each in command[command.index("--port") + 2 :])
    del ours["--disable-uvicorn-access-log"]  # there, its log stands within ours; here it stands alone
    assert ours.keys() >= {"--logprobs-mode", "--limit-mm-per-prompt", "--tool-call-parser"}
    assert ours.items() <= flags().items()
    assert "shm_size" in VLLM


def test_the_model_that_was_fetched_is_the_one_served_under_its_name() -> None:
    assert WEIGHTS["command"][:2] == ["download", VLLM["command"][0]]
    assert flags()["--served-model-name"] == default(VLLM["command"][0])
    assert WEIGHTS["command"][2] in VLLM["command"]
    assert WEIGHTS["volumes"] == VLLM["volumes"] == ["models:/home/vllm"]
    assert WEIGHTS["environment"]["HOME"] == VLLM["environment"]["HOME"] == "/home/vllm"
    assert VLLM["environment"]["HF_HUB_OFFLINE"] == "1"


def test_the_app_opens_the_engine_where_it_listens() -> None:
    url = APP["environment"]["SECONDLOOK_ENGINE"]
    engine = open_engine(url, api_key="key")
    asyncio.run(engine.close())
    assert isinstance(engine, OpenAIEngine)
    address = urlsplit(url.removeprefix("openai:"))
    assert address.hostname == APP["environment"]["NO_PROXY"] == "vllm"
    assert (str(address.port), address.path, address.query) == (flags()["--port"], "/v1", "dialect=vllm")


def test_the_demo_runs_the_model_of_this_project() -> None:
    assert DEMO["environment"]["SECONDLOOK_ENGINE"] == "demo:"
    assert "depends_on" not in DEMO


@pytest.mark.parametrize("service", [APP, DEMO], ids=["app", "demo"])
def test_the_service_gets_settings_that_exist(service: dict[str, Any]) -> None:
    named = {name for name in service["environment"] if name.startswith("SECONDLOOK_")}
    assert named <= {f"SECONDLOOK_{field.upper()}" for field in Settings.model_fields}
    assert "SECONDLOOK_PORT" not in named, "this is the port on the host; in the container it stays 8000"


@pytest.mark.parametrize(("service", "target"), [(APP, "app"), (DEMO, "demo")], ids=["app", "demo"])
def test_the_images_are_those_of_the_dockerfile(service: dict[str, Any], target: str) -> None:
    assert service["build"]["target"] == target
    assert target in stages()
    assert service["user"] == value("runtime", "USER")
    assert service["volumes"] == ["data:/data"]


def test_foreign_images_are_pinned() -> None:
    images = {default(service["image"]) for service in SERVICES.values() if "image" in service}
    assert images
    assert all(re.fullmatch(r"[\w./-]+:v\d+\.\d+\.\d+", image) for image in images)
