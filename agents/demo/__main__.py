"""The demo's command line: `python -m agents.demo`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from agents.demo.encoder import encode_video, subtitles_srt
from agents.demo.generator import make_video
from agents.demo.questions import ground_truth

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.callback()
def main() -> None:
    """Make videos; with torch, train the demo model and evaluate it."""


@cli.command()
def video(
    seed: int,
    out: Path,
    minutes: Annotated[float | None, typer.Option(help="Length; a default video has 7 to 12 shots.")] = None,
) -> None:
    """Write a video to OUT, its subtitles, if any, beside it as .srt, and what is true of it as .json."""
    made = make_video(seed, minutes)
    encode_video(made, out)
    if spoken := subtitles_srt(made):
        out.with_suffix(".srt").write_text(spoken, encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(ground_truth(made), indent=1) + "\n", encoding="utf-8")


if find_spec("torch") and find_spec("agents.demo.training"):  # the wheel has no training
    from agents.demo.training.cli import training_cli

    cli.registered_commands += training_cli.registered_commands


if __name__ == "__main__":
    cli()
