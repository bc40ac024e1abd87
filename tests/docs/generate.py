"""Write the pages of docs/ that say what the code says: strategies, systems, settings.

    python -m tests.docs.generate          # `make docs`

A test fails while a page differs from what this would write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from agents.presets import Catalogue, StrategyPreset
from agents.strategies import STRATEGIES
from app.catalog import StrategyCard, strategy_cards
from app.settings import Settings

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
_NOTE = "<!-- Written by `make docs` from the code. Do not edit. -->"


def main() -> None:
    """Write all generated pages."""
    for name, write in PAGES.items():
        (DOCS / name).write_text(write(), "utf-8")


# --- strategies


_AFTER_CHOICE = (
    "If your model does not call tools well, take `investigate` (a fixed search) in place of `planner`. `committee` is "
    "for systems of several roles; [systems](systems.md) lists those that come as presets."
)


def strategies_page() -> str:
    """What to use when, then every strategy with its parameters."""
    catalogue = Catalogue.load()
    default = Settings.model_fields["strategy"].default
    cards = strategy_cards(catalogue)
    own = [card for card in cards if card.name == card.strategy]
    (usual,) = (card for card in cards if card.name == default)
    parts = [
        "# Strategies",
        _NOTE,
        "A strategy decides what the model looks at, how often it is asked, and when to stop. A request selects one "
        "by name and may set its parameters; `secondlook strategies NAME` prints what is below.",
        "## Which one?",
        _choice(),
        _AFTER_CHOICE,
        f"## {usual.name}",
        f"The default. {usual.summary} It is [`{usual.strategy}`](#{usual.strategy}) with "
        f"`strategies` = {_value(_properties(usual.parameters)['strategies'])}.",
        *(_strategy(card) for card in own),
    ]
    return "\n\n".join(parts) + "\n"


def _choice() -> str:
    """README's table of situations, with links as they are from here."""
    section = README.read_text("utf-8").partition("## Which strategy should I choose?")[2]
    return "\n".join(line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")).replace(
        "](docs/", "]("
    )


def _strategy(card: StrategyCard) -> str:
    first, *rest = (" ".join(paragraph.split()) for paragraph in card.description.split("\n\n"))
    needs = (
        f"Needs a model server that offers {' and '.join(f'`{need}`' for need in card.needs)}." if card.needs else ""
    )
    rows = [
        f"| `{name}` | {_value(shape)} | {_bounds(shape)} | {_cell(shape.get('description', ''))} |"
        for name, shape in _properties(card.parameters).items()
        if name != "name"
    ]
    table = "\n".join(["| parameter | default | values | meaning |", "|---|---|---|---|", *rows])
    papers = f"Papers: {', '.join(_paper(paper) for paper in card.papers)}." if card.papers else ""
    described = [_linked(text) for text in rest]
    return "\n\n".join(part for part in (f"## {card.name}", first, *described, needs, table, papers) if part)


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = schema.get("properties") or schema["$defs"][schema["$ref"].rpartition("/")[2]]["properties"]
    return dict(found)


def _value(shape: Mapping[str, Any]) -> str:
    """A default; what is nested is told by name, since JSON of several lines is not read."""
    default = shape.get("default")
    if isinstance(default, list):
        return ", ".join(f"`{_name(each)}`" for each in default)
    return f"`{_name(default)}`"


def _name(value: Any) -> str:
    if not isinstance(value, Mapping):
        return value if isinstance(value, str) else json.dumps(value)
    name = str(next((value[key] for key in ("name", "do", "by") if key in value), json.dumps(value)))
    if name not in STRATEGIES:
        return name
    fields = STRATEGIES[name].model_fields
    changed = [f"{key}={each}" for key, each in value.items() if each != fields[key].default]
    return f"{name}({', '.join(changed)})" if changed else name


def _bounds(shape: Mapping[str, Any]) -> str:
    if "enum" in shape:
        return ", ".join(f"`{each}`" for each in shape["enum"])
    if shape.get("type") == "boolean":
        return "`true`, `false`"
    low, above = shape.get("minimum"), shape.get("exclusiveMinimum")
    high, below = shape.get("maximum"), shape.get("exclusiveMaximum")
    ends = (
        f"over {above}" if above is not None else f"{low}" if low is not None else "",
        f"under {below}" if below is not None else f"{high}" if high is not None else "",
    )
    return " to ".join(end for end in ends if end)


# --- systems


_OUT_OF_REACH = {
    "EgoPrune": "prunes visual tokens inside the model",
    "PruneVid": "prunes visual tokens inside the model",
    "V-Reason": "optimises the model's cache by entropy while it decodes",
    "Free-MoRef": "fuses attention over interleaved parts of the video, layer by layer",
    "TTA-Vid": "trains the model on the test video",
    "AdaptToken": "needs attention maps",
}


def systems_page() -> str:
    """Published systems by name: what they are here, and how near to their papers."""
    catalogue = Catalogue.load()
    rows = [_system(name, preset) for name, preset in sorted(catalogue.presets.items())]
    out = [f"| {name} | {why} |" for name, why in _OUT_OF_REACH.items()]
    parts = [
        "# Published systems",
        _NOTE,
        "A preset is a strategy with the parameters of a published system, under its name. Use it like a strategy: "
        '`"strategy": "videoagent"`. `secondlook strategies NAME` prints its parameters.',
        "How near it is to its paper:\n\n"
        "- **exact**: the algorithm of the paper.\n"
        "- **without its training**: the paper's inference procedure on a model that was not trained for it.\n"
        "- **approximation**: a part of the paper is left out or replaced; the text says which where it matters.",
        "\n".join(["| preset | strategy | fidelity | what it does | paper |", "|---|---|---|---|---|", *rows]),
        "## Not possible over HTTP",
        "These need the inside of the model (attention, cache, weights), which no OpenAI-compatible server exposes.",
        "\n".join(["| system | why |", "|---|---|", *out]),
    ]
    return "\n\n".join(parts) + "\n"


def _system(name: str, preset: StrategyPreset) -> str:
    strategy = f"[`{preset.strategy}`](strategies.md#{preset.strategy})"
    return f"| `{name}` | {strategy} | {preset.fidelity} | {_cell(preset.summary)} | {_paper(preset.paper)} |"


# --- settings


_GROUPS: dict[str, str] = {
    "Model": r"engine|engine_key|retry_seconds",
    "Address and keys": r"host|port|api_key|key_seconds|quota",
    "Default strategy": r"strategy|open_strategy|answer_tokens",
    "Most that one request may spend": r"max_(frames|tokens|calls|seconds)",
    "Queue and shutdown": r"max_runs|max_waiting|max_wait_seconds|drain_seconds|notice_seconds",
    "Storage and runs": r"data_dir|records|blobs|blob_cache_bytes|instance|min_free_bytes|run_days|kept_bytes"
    r"|persist_seconds|sweep_seconds|retry_grace_seconds",
    "Reading videos": r"video_dir|decoder|sandbox|decode_\w+|known_videos|cache_bytes|max_video_\w+|max_look_seconds"
    r"|max_open_seconds",
    "Uploads and requests": r"max_(body|question|schema|upload|data)_bytes|max_pictures|max_choices|idle_seconds"
    r"|ping_seconds",
    "Fetching videos from URLs": r"fetch\w*|max_fetches",
    "Index": r"index",
    "Tools": r"reader|detector",
    "Logs, metrics, traces": r"open_metrics|log_format|otel",
}


def settings_page() -> str:
    """Every setting, by theme."""
    parts = [
        "# Settings",
        _NOTE,
        "All settings are environment variables. They are read once, at start. Command-line flags (`--engine`, "
        "`--host`, `--port`) win over them. A part of a setting that has parts follows two underscores: "
        "`SECONDLOOK_QUOTA__STORAGE_BYTES`.",
    ]
    left = dict(Settings.model_fields)
    for title, pattern in (*_GROUPS.items(), ("Other", r".*")):
        names = [name for name in left if re.fullmatch(pattern, name)]
        rows = [row for name in names for row in _setting(f"SECONDLOOK_{name.upper()}", left.pop(name))]
        if rows:
            table = ["| variable | default | unit | meaning |", "|---|---|---|---|", *rows]
            parts += [f"## {title}", "\n".join(table)]
    return "\n\n".join(parts) + "\n"


def _setting(variable: str, field: FieldInfo) -> Iterator[str]:
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        for name, part in type(default).model_fields.items():
            yield from _setting(f"{variable}__{name.upper()}", part)
    else:
        cells = (f"`{variable}`", _default(default), _unit(variable, default), _cell(field.description or ""))
        yield f"| {' | '.join(cells)} |"


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined or isinstance(value, SecretStr) or value == ():
        return ""
    if isinstance(value, bool | tuple):
        return f"`{json.dumps(value)}`"
    if isinstance(value, float) and value.is_integer():
        return f"`{value:.0f}`"
    return f"`{value}`"


_UNIT = re.compile(r"_(BYTES|SECONDS|DAYS|TOKENS|FRAMES|CALLS|PIXELS)$")
_LARGER = {
    "bytes": ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")),
    "seconds": ((86400, "days"), (3600, "hours")),
}


def _unit(variable: str, default: Any) -> str:
    """The unit by which a variable's name ends, and what the default is in a larger one."""
    found = _UNIT.search(variable)
    unit = found[1].lower() if found else ""
    for size, larger in _LARGER.get(unit, ()):
        if default and default >= size and default % size == 0:
            count = default / size
            return f"{unit} ({count:g} {larger.removesuffix('s') if count == 1 else larger})"
    return unit


# --- shared


_ARXIV = re.compile(r"arXiv:\s?(\d{4}\.\d{4,5})")


def _linked(text: str) -> str:
    return _ARXIV.sub(lambda found: f"[arXiv:{found[1]}](https://arxiv.org/abs/{found[1]})", text)


def _paper(number: str) -> str:
    return f"[{number}](https://arxiv.org/abs/{number})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES: Mapping[str, Callable[[], str]] = {
    "strategies.md": strategies_page,
    "systems.md": systems_page,
    "settings.md": settings_page,
}

if __name__ == "__main__":
    main()
