"""The registry: every module of this folder defines one strategy, named like its file."""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from inspect import getmembers, isclass
from operator import or_
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from agents.strategies.base import Strategy

_SHARED = {"base", "verification"}


def _find_strategies() -> dict[str, type[Strategy]]:
    found = {}
    names = (info.name for info in iter_modules(__path__) if info.name not in _SHARED)
    for module in (import_module(f"{__name__}.{name}") for name in names):
        here = [
            each
            for _, each in getmembers(module, isclass)
            if issubclass(each, Strategy) and each.__module__ == module.__name__
        ]
        name = module.__name__.rpartition(".")[2]
        if len(here) != 1 or here[0].model_fields["name"].default != name:
            raise TypeError(f"{module.__name__} must define exactly one strategy, named {name!r}")
        found[name] = here[0]
    return found


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


STRATEGIES = _find_strategies()
if TYPE_CHECKING:
    AnyStrategy = Strategy  # the union is built at run time, so a type checker sees the base class
else:
    AnyStrategy = Annotated[
        Annotated[reduce(or_, STRATEGIES.values()), Field(discriminator="name")], BeforeValidator(_named)
    ]
# A field of `escalate` refers to the union, which did not exist yet when the class was defined.
for _strategy in STRATEGIES.values():
    _strategy.model_rebuild(_types_namespace={"AnyStrategy": AnyStrategy})
