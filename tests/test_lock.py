"""The locks pin all that is asked for, within its ranges, on every Python version and from any index."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.lock import EXTRAS, LOCK, ROOT, requirements

PYTHONS = ("3.11", "3.12", "3.13")
LOCKS = requirements()


def pins(lock: Path, python: str) -> dict[NormalizedName, str]:
    """Versions by name that a lock gives on Linux."""
    place = {
        "python_version": python,
        "python_full_version": f"{python}.7",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    lines = [Requirement(line) for line in lock.read_text("utf-8").splitlines() if not line.startswith("#")]
    here = [each for each in lines if each.marker is None or each.marker.evaluate(place)]
    found = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in here}
    assert len(found) == len(here)
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.relative_to(ROOT).as_posix())
def test_what_is_asked_for_is_pinned_within_its_range(lock: Path, python: str) -> None:
    found = pins(lock, python)
    for asked in map(Requirement, LOCKS[lock]):
        version = found.get(canonicalize_name(asked.name), "")
        assert version, f"{asked.name} is not in {lock.name}; run `make lock`"
        assert asked.specifier.contains(version, prereleases=True), f"{asked} excludes {version}; run `make lock`"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.relative_to(ROOT).as_posix())
def test_a_lock_is_exact_and_names_no_index(lock: Path) -> None:
    for line in lock.read_text("utf-8").splitlines()[1:]:
        pin = Requirement(line)  # so neither options nor hashes
        assert pin.url is None
        assert [each.operator for each in pin.specifier] == ["=="]
        assert "*" not in str(pin.specifier) and "+" not in str(pin.specifier)


def test_every_extra_is_locked() -> None:
    """But vllm, whose dependencies pin what the rest need in other versions; it has a lock of its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {*EXTRAS, "vllm"} == set(project["optional-dependencies"])


def test_cuda_libraries_are_left_to_the_build_of_torch() -> None:
    assert not [name for name in pins(LOCK, "3.11") if name.startswith(("nvidia-", "cuda-"))]
