"""Callers' JSON schemas: checked once, then used to check replies at a bounded cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

_MAX_STEPS = 20_000
"""Keywords looked at for one value. A schema of a few lines can ask for more of them than there is time."""
_UNCHECKED = ("pattern", "patternProperties", "propertyNames")
"""They hold regular expressions: one that is written for it takes years, and others have ended model servers."""
_REFERENCES = ("$ref", "$dynamicRef")

Check = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class BadSchema(Exception):
    """What the caller gave is no JSON schema, or none that can be checked here."""


class AnswerSchema:
    """One JSON schema (draft 2020-12). Nothing is fetched for it.

    `source` is what is checked: the schema without regular expressions; `whole`: there were none.
    """

    def __init__(self, source: Mapping[str, Any]) -> None:
        """Raises BadSchema."""
        try:
            Draft202012Validator.check_schema(dict(source))
        except SchemaError as error:
            where = ".".join(str(part) for part in error.absolute_path)
            raise BadSchema(f"It is no JSON schema{f' at {where}' if where else ''}: {error.message}") from None
        except RecursionError:
            raise BadSchema("It is nested too deeply.") from None
        for reference in _references(source):
            if not reference.startswith("#"):
                raise BadSchema(f"It refers to {reference!r}; it may only refer to its own parts, as #/$defs/name.")
        self.source = dict(_without_unchecked(source))
        self.whole = self.source == source

    def accepts(self, value: Any) -> bool:
        """Whether a value follows the schema. A schema that takes too long to check accepts nothing."""
        left = [_MAX_STEPS]
        counted = {
            name: partial(_count_steps, check, left)
            for name, check in Draft202012Validator.VALIDATORS.items()
            if name not in _UNCHECKED
        }
        kind = extend(Draft202012Validator, counted)  # type: ignore[no-untyped-call]
        validator = kind(self.source, registry=Registry())
        try:
            return bool(validator.is_valid(value))
        except (_TooManySteps, RecursionError, Unresolvable):
            return False


class _TooManySteps(Exception):
    """More steps than there may be."""


def _count_steps(check: Check, left: list[int], *of: Any) -> Iterator[ValidationError]:
    left[0] -= 1
    if left[0] < 0:
        raise _TooManySteps
    yield from check(*of) or ()


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name in _REFERENCES and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for each in node:
            yield from _references(each)


def _without_unchecked(node: Any) -> Any:
    """The schema without what is not checked: other keywords would run its regular expressions too."""
    if isinstance(node, list):
        return [_without_unchecked(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    return {name: _subschema(name, value) for name, value in node.items() if name not in _UNCHECKED}


def _subschema(name: str, value: Any) -> Any:
    """What stands under a keyword; under some of them stand names, which are no keywords whatever they are."""
    if name in ("enum", "const", "default", "examples"):
        return value
    if name in ("properties", "$defs", "definitions", "dependentSchemas") and isinstance(value, Mapping):
        return {each: _without_unchecked(schema) for each, schema in value.items()}
    return _without_unchecked(value)
