"""Half precision where it is faster: on a GPU, and on processors that have units for it."""

from __future__ import annotations

import torch

_PLAIN = ("DEFAULT", "AVX2")  # there bfloat16 is emulated, at a sixth of the speed of float32


def mixed(device: str) -> torch.autocast:
    """A context in which matrices are multiplied in bfloat16, if that pays."""
    pays = device != "cpu" or torch.backends.cpu.get_cpu_capability() not in _PLAIN
    return torch.autocast(device, torch.bfloat16, enabled=pays)
