"""`python -m agents.demo`: make films, train the demo model, see how good it is."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from agents.demo.encode import encode, subtitles
from agents.demo.film import make_film
from agents.demo.truth import truth

cli = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


@cli.command()
def film(
    seed: int,
    out: Path,
    minutes: Annotated[float | None, typer.Option(help="Length; a default film has 7 to 12 shots.")] = None,
) -> None:
    """Write a film, its subtitles where someone speaks, and the truth about it."""
    made = make_film(seed, minutes)
    encode(made, out)
    if spoken := subtitles(made):
        out.with_suffix(".srt").write_text(spoken, encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(truth(made), indent=1) + "\n", encoding="utf-8")


if find_spec("torch") is not None:  # films can be made without it, and so this module must load without it
    from agents.demo.school import school

    cli.registered_commands += school.registered_commands


if __name__ == "__main__":
    cli()
