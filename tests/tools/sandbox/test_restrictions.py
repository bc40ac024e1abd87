"""What each means of confinement holds back on its own, for an ordinary user: tried out in processes that end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.sandbox import restrictions

TRIAL = """
import json, os, sys
from tools.sandbox import restrictions
from tools.sandbox.restrictions import ResourceLimits, Restrictions, leave_namespaces, find_gaps

def refuse(*_):
    raise OSError("not on this machine")

means, parent = sys.argv[1].split(), os.getppid()
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
fence = Restrictions.make(opens=False)
if "seccomp" not in means:
    fence = Restrictions(None, opens=False)
if "landlock" not in means:
    restrictions.apply_landlock = refuse
held = leave_namespaces() if "namespaces" in means else ()
allowance = ResourceLimits(256 << 20, 5.0)
print(json.dumps([held + fence.apply(allowance, 0), find_gaps(allowance, parent)]))
"""
NETWORK, FILES = "the network", "other files"


@pytest.mark.parametrize(
    ("means", "left"),
    [
        ("", [NETWORK, FILES]),
        ("namespaces", [FILES]),
        ("landlock", [NETWORK]),
        ("namespaces landlock", []),
        ("seccomp", []),
        ("namespaces landlock seccomp", []),
    ],
)
def test_what_is_left_open(means: str, left: list[str]) -> None:
    command = [sys.executable, "-c", TRIAL, means]
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=Path(__file__).parents[3], env=one_thread, stdout=subprocess.PIPE, check=True)
    put_up, open_ = json.loads(done.stdout)
    assert set(means.split()) <= set(put_up)
    assert open_ == left


def test_the_kernel_and_libseccomp_are_there() -> None:
    assert restrictions.landlock_version() >= 1
    for opens in (False, True):
        assert len(restrictions.seccomp_program(opens)) % 8 == 0
    assert restrictions.seccomp_program(opens=False) != restrictions.seccomp_program(opens=True)
