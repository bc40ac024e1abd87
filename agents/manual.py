"""The manual of all strategies, made from their code."""

from __future__ import annotations

from agents.presets import Catalogue, Fidelity
from agents.strategies import PROGRAMS

_FIDELITIES: tuple[Fidelity, ...] = ("exact", "training-free part", "analogue")


def markdown(catalogue: Catalogue) -> str:
    """Two tables for README: the programs with their parameters, and the presets by program and fidelity."""
    programs = [
        f"| `{name}` | {summary(name)} | {_parameters(name)} | {_links(PROGRAMS[name].papers())} |" for name in PROGRAMS
    ]
    used = dict.fromkeys(preset.program for preset in catalogue.presets.values())
    presets = [
        f"| `{program}` | {' | '.join(_named(catalogue, program, fidelity) for fidelity in _FIDELITIES)} |"
        for program in used
    ]
    return "\n".join(
        [
            "| program | what it does | parameters and their defaults | papers |",
            "|---|---|---|---|",
            *programs,
            "",
            "| presets of | exact | training-free part | analogue |",
            "|---|---|---|---|",
            *presets,
        ]
    )


def _named(catalogue: Catalogue, program: str, fidelity: Fidelity) -> str:
    """The presets of a program that are as near to their papers, each with its paper."""
    these = ((name, p) for name, p in catalogue.presets.items() if p.program == program and p.fidelity == fidelity)
    return ", ".join(f"[`{name}`](https://arxiv.org/abs/{preset.paper})" for name, preset in these)


def summary(name: str) -> str:
    """First paragraph of a program's documentation: the idea in one sentence."""
    return " ".join(PROGRAMS[name].manual().split("\n\n")[0].split())


def _parameters(name: str) -> str:
    fields = PROGRAMS[name].model_fields
    shown = [f"{key}={field.default}" for key, field in fields.items() if isinstance(field.default, str | int | float)]
    return ", ".join(f"`{each}`" for each in shown if not each.startswith("name="))


def _links(papers: tuple[str, ...]) -> str:
    return ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in papers)
