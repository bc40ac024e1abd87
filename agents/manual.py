"""The manual of all strategies, made from their code."""

from __future__ import annotations

from agents.presets import Catalogue
from agents.strategies import PROGRAMS


def markdown(catalogue: Catalogue) -> str:
    """Two tables for README: the programs with their parameters, and the presets."""
    programs = [
        f"| `{name}` | {summary(name)} | {_parameters(name)} | {_links(PROGRAMS[name].papers())} |" for name in PROGRAMS
    ]
    presets = [
        f"| `{name}` | `{preset.program}` | {preset.summary} | {preset.fidelity} | {_links((preset.paper,))} |"
        for name, preset in catalogue.presets.items()
    ]
    return "\n".join(
        [
            "| program | what it does | parameters and their defaults | papers |",
            "|---|---|---|---|",
            *programs,
            "",
            "| preset | program | what it does | fidelity | paper |",
            "|---|---|---|---|---|",
            *presets,
        ]
    )


def summary(name: str) -> str:
    """First paragraph of a program's documentation: the idea in one sentence."""
    return " ".join(PROGRAMS[name].manual().split("\n\n")[0].split())


def _parameters(name: str) -> str:
    fields = PROGRAMS[name].model_fields
    shown = [f"{key}={field.default}" for key, field in fields.items() if isinstance(field.default, str | int | float)]
    return ", ".join(f"`{each}`" for each in shown if not each.startswith("name="))


def _links(papers: tuple[str, ...]) -> str:
    return ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in papers)
