"""The tools that a model may call, by their names: what it is told of them, and how its calls become tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from agents import model_tools
from agents.engines.base import ToolSpec
from agents.parsing.structured import simplify_schema
from agents.prompts.untrusted import sanitise
from tools import builtin
from tools.base import BaseTool, ToolError

TOOLS: Mapping[str, type[BaseTool]] = {**model_tools.TOOLS, **builtin.TOOLS}
if len(TOOLS) < len(model_tools.TOOLS) + len(builtin.TOOLS):
    raise TypeError(f"two tools share a name: {model_tools.TOOLS.keys() & builtin.TOOLS.keys()}")
if TYPE_CHECKING:
    ToolName = str  # the names are only known at run time, from the folders
else:
    ToolName = Literal[tuple(TOOLS)]
# What models call arguments in other systems.
_ALIASES: Mapping[str, str] = {
    **dict.fromkeys(("start_time", "start_s", "begin", "from", "t0", "start_second"), "start"),
    **dict.fromkeys(("end_time", "end_s", "stop", "to", "t1", "end_second"), "end"),
    **dict.fromkeys(("topk", "k", "limit", "n", "n_results", "max_results"), "top_k"),
    **dict.fromkeys(("q", "text", "event_description", "description", "keywords", "search_query"), "query"),
    **dict.fromkeys(("bbox", "bbox_2d", "region", "crop"), "box"),
    **dict.fromkeys(("timestamp", "t", "time_s", "second"), "time"),
    **dict.fromkeys(("timestamps", "frame_times", "seconds"), "times"),
    **dict.fromkeys(("num_frames", "n_frames", "nframes", "max_frames"), "frames"),
    **dict.fromkeys(("resize", "scale"), "detail"),
    **dict.fromkeys(("sub_query", "prompt"), "question"),
    **dict.fromkeys(("claim", "hypothesis"), "statement"),
    **dict.fromkeys(("final_answer", "option"), "answer"),
}
_NAME = 24  # characters
_PAIRS = ("range", "segment", "time_range", "interval", "span")


class Toolbox:
    """Some tools under their names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._tools = {name: TOOLS[name] for name in dict.fromkeys(names)}

    @property
    def names(self) -> tuple[str, ...]:
        """What can be called."""
        return tuple(self._tools)

    def without(self, *names: str) -> Toolbox:
        """The same without some tools."""
        return Toolbox(name for name in self._tools if name not in names)

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools for an engine that offers calls."""
        return tuple(ToolSpec(name, tool.docs(), _parameters(tool)) for name, tool in self._tools.items())

    def schema(self) -> dict[str, Any]:
        """The schema of one call in JSON: a thought, the tool's name, its arguments."""
        return {"anyOf": [_slot(name, tool) for name, tool in self._tools.items()]}

    def listing(self, explain: bool) -> str:
        """One line for each tool, in the form of a call on a line of its own."""
        lines = (_usage(name) + (f"  {tool.docs()}" if explain else "") for name, tool in self._tools.items())
        return "\n".join(lines)

    def essential(self, name: str) -> tuple[str, ...]:
        """The arguments of a tool in the order of a plain line."""
        return TOOLS[name].essential

    def known(self, name: str) -> str | None:
        """The tool that is meant by a name, if only one can be."""
        if name in self._tools:
            return name
        near = get_close_matches(name.casefold(), self._tools, n=2, cutoff=0.8)
        return near[0] if len(near) == 1 else None

    def bind(self, name: str, arguments: Mapping[str, Any]) -> BaseTool:
        """The tool that a call stands for. Raises ToolError that says what would be right."""
        if (known := self.known(name)) is None:
            raise ToolError(
                "unknown_tool", f"There is no tool {_short(name)!r}.", f"There are: {', '.join(self._tools)}."
            )
        tool = self._tools[known]
        given = _renamed(arguments, tool)
        allowed = [field for field in tool.model_fields if field != "name"]
        if unknown := sorted(given.keys() - set(allowed)):
            raise ToolError(
                "unknown_argument", f"{known} takes no {_short(unknown[0])!r}.", f"It takes: {', '.join(allowed)}."
            )
        try:
            return tool.model_validate({**given, "name": known})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"]) or known
            words = f"{place}: {first['msg']}"
            raise ToolError("bad_argument", words, f"Write it like: {_usage(known)}") from None


def _renamed(arguments: Mapping[str, Any], tool: type[BaseTool]) -> dict[str, Any]:
    """Arguments under our names, without those that say nothing."""
    given: dict[str, Any] = {}
    for key, value in arguments.items():
        name = key if key in tool.model_fields else _ALIASES.get(key.casefold(), key)
        if value is None or name == "name":
            continue
        if key in _PAIRS and isinstance(value, list | tuple) and len(value) == 2:
            given["start"], given["end"] = value
        elif name == "query" and isinstance(value, list):
            given[name] = " ".join(map(str, value))
        else:
            given[name] = value
    return given


def _parameters(tool: type[BaseTool]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments."""
    schema = simplify_schema(tool.model_json_schema())
    fields = {key: shape for key, shape in schema["properties"].items() if key != "name"}
    needed = [key for key in schema.get("required", ()) if key != "name"]
    return {"type": "object", "properties": fields, "required": needed, "additionalProperties": False}


def _slot(name: str, tool: type[BaseTool]) -> dict[str, Any]:
    """The JSON schema of a call of a tool, in which nothing essential is missing."""
    properties = {"thought": {"type": "string"}, "tool": {"const": name}, **_parameters(tool)["properties"]}
    required = ["thought", "tool", *tool.essential]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _usage(name: str) -> str:
    return " ".join([name, *(argument.upper() for argument in TOOLS[name].essential)])


def _short(name: str) -> str:
    """A name that the model made up, as far as we repeat it."""
    return sanitise(name)[:_NAME]
