"""The commands that need torch: train the demo model and evaluate it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from agents.demo import WEIGHTS
from agents.demo.generator import TEST_FROM
from agents.demo.training.evaluate import DemoCheckpoint, EncodedVideos, evaluate_checkpoint, result_tables
from agents.demo.training.train import STAGES, train_model

training_cli = typer.Typer()


@training_cli.command(name="train")
def train_command(
    out: Annotated[Path, typer.Option(help="Folder for the finished model.")] = WEIGHTS,
    scratch: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("demo-training"),
    stage: Annotated[list[str] | None, typer.Option(help="One of: " + ", ".join(STAGES))] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Train the model. Started again, it goes on where it stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    train_model(out, scratch, tuple(stage or STAGES), device)


@training_cli.command(name="evaluate")
def evaluate_command(
    questions: Annotated[int, typer.Option(help="How many questions, five about each video.")] = 500,
    frames: Annotated[str, typer.Option(help="Numbers of frames, with commas.")] = "4,8,16,32,64",
    styles: Annotated[str, typer.Option(help="direct, think, verify; with commas.")] = "direct,verify",
    first: Annotated[int, typer.Option(help="Seed of the first video.")] = TEST_FROM,
    weights: Annotated[Path, typer.Option(help="Folder of the model.")] = WEIGHTS,
    videos: Annotated[Path, typer.Option(help="Folder for the encoded videos.")] = Path("demo-videos"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json_out: Annotated[Path | None, typer.Option("--json", help="Write every result here.")] = None,
) -> None:
    """Measure the model on videos it has never seen, through H.264 and the service's prompts."""
    counts = [int(count) for count in frames.split(",")]
    seeds = range(first, first + -(-questions // 5))
    results = list(
        evaluate_checkpoint(DemoCheckpoint(weights, device), EncodedVideos(videos), seeds, counts, styles.split(","))
    )
    for table in result_tables(results):
        Console(width=110).print(table)
    if json_out is not None:
        json_out.write_text(json.dumps([asdict(result) for result in results]) + "\n", encoding="utf-8")
