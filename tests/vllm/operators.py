"""Lets torchvision be imported beside a torch that it was not built for.

`install` copies this file into the environment of the vLLM server, where every process imports it at its start. It
must stand alone: it knows nothing of this project.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Declarer(MetaPathFinder):
    """Declares two operators of torchvision just before it is imported, because its own library does not load.

    On importing, torchvision describes the shapes of these two, which fails if nobody has declared them. They still
    cannot be run; nothing that prepares pictures needs them.
    """

    def __init__(self) -> None:
        self._library: Any = None  # a library that nobody holds takes its operators with it

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds nothing, ever: others do."""
        del path, target
        if fullname == "torchvision" and self._library is None:
            from torch.library import Library  # noqa: PLC0415 - torch is slow to import and most processes need none

            self._library = Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for name in ("nms", "qnms"):
                self._library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return None


sys.meta_path.insert(0, Declarer())
