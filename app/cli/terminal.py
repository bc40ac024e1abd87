"""Terminal output: progress on stderr, answers and tables on stdout, errors with their exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.core.trace import (
    AnswerEvent,
    Event,
    FramesEvent,
    InfoEvent,
    ModelEvent,
    OnEvent,
    SpanBeginEvent,
    StopEvent,
    ToolEvent,
)
from app.answers.schemas import AnswerResponse
from app.catalog import StrategyCard
from app.errors import INTERNAL_ERROR, ErrorDetail

_MAX_WIDTH = 60


@contextmanager
def exit_on_error(as_json: bool) -> Iterator[None]:
    """Turn an exception into a message on stderr, with JSON its error object on stdout, and an exit code."""
    try:
        yield
    except Exception as error:
        failure = ErrorDetail.from_exception(error)
        if failure.spec is INTERNAL_ERROR:
            raise
        if as_json:
            typer.echo(json.dumps(failure.body, indent=2))
        Console(stderr=True, soft_wrap=True).print(Text(f"secondlook: {failure.message}", style="red"))
        raise typer.Exit(failure.spec.exit_code) from None


@contextmanager
def progress(first: str, trace: bool) -> Iterator[OnEvent]:
    """Show on stderr what a run does: as one changing line on a terminal, as lines that stay with `trace`."""
    console = Console(stderr=True)
    with console.status(Text(first)) as status:

        def hear(event: Event) -> None:
            words = describe(event)
            status.update(Text(words))
            if trace:
                console.print(Text(f"{event.at:8.2f} s  {words}"), soft_wrap=True)

        yield hear


def describe(event: Event) -> str:
    """An event in words."""
    match event:
        case FramesEvent():
            return f"looked at {_frames(event.times)} in {event.seconds:.2f} s"
        case ModelEvent():
            said = " | ".join(_short(reply) for reply in event.replies)
            return f"asked ({event.purpose}) with {_frames(event.times)}: {said}"
        case ToolEvent():
            return _call(event)
        case AnswerEvent():
            return f"best answer so far: {event.answer} ({percent(event.confidence)})"
        case SpanBeginEvent():
            return f"{event.span} …"
        case InfoEvent():
            return event.text
        case StopEvent():
            return f"stopped: {event.reason}"
        case _:
            return f"{event.span} done"


def show_answer(console: Console, response: AnswerResponse) -> None:
    """Print an answer for a person: the answer first, then how sure it is, then what it took."""
    report = response.report
    letter = f"{response.option}. " if response.option else ""
    console.print(Text(f"{letter}{response.answer or 'no answer could be read'}", style="bold"))
    rest = (each for each in response.candidates if each.answer != response.answer)
    others = ", ".join(f"{each.answer} {percent(each.share)}" for each in rest)
    preset = f" ({report.strategy['name']})" if "preset" in report.strategy else ""
    tokens = report.prompt_tokens + report.completion_tokens
    rows = {
        "confidence": percent(response.confidence),
        "instead of": others,
        "strategy": f"{report.strategy.get('preset', report.strategy['name'])}{preset}, stopped: {report.stopped}",
        "looked at": f"{report.frames_viewed} frames, {report.frames_unique} of them different",
        "asked": f"{report.model}, {_plural(report.calls, 'call')}, {_plural(tokens, 'token')}",
        "took": f"{report.seconds.total:.2f} s",
        "degraded": "; ".join(report.degraded),
    }
    table = Table.grid(padding=(0, 2))
    for name, words in rows.items():
        if words:
            table.add_row(Text(name, style="dim"), Text(words))
    console.print(table)


WHEN_TO_USE = (
    ("you do not know yet", "auto", "one direct answer; votes only where that is unsure"),
    ("latency matters most", "direct", "one call"),
    ("what matters is short, the video is not", "until_confident", "looks at more frames until the answer is probable"),
    ("counting, several steps, knowledge", "chain_of_thought", "reasons before it answers"),
    ("a wrong answer is expensive", "self_consistency", "votes over different frames; stops when decided"),
    ("half an hour or more", "planner", "searches an index (`secondlook index`), then looks"),
)


def show_cards(console: Console, cards: Sequence[StrategyCard]) -> None:
    """Print which strategy to use when, then all of them, one line each."""
    advice = Table("when", "use", "why", box=SIMPLE, title="Which strategy?", title_justify="left")
    for row in WHEN_TO_USE:
        advice.add_row(*row)
    console.print(advice)
    table = Table("name", "what it does", "paper", box=SIMPLE)
    for card in cards:
        fidelity = f" ({card.fidelity})" if card.fidelity else ""
        table.add_row(card.name, Text(card.summary), f"{', '.join(card.papers)}{fidelity}")
    console.print(table)
    console.print("One in full: secondlook strategies NAME", style="dim")


def show_card(console: Console, card: StrategyCard) -> None:
    """Print one strategy with its parameters."""
    preset_of = f" (a preset of {card.strategy})" if card.strategy != card.name else ""
    console.print(Text(f"{card.name}{preset_of}", style="bold"))
    console.print(Text(_unwrapped(f"{card.summary}\n\n{card.description}" if preset_of else card.description)))
    schema = card.parameters
    fields = schema.get("properties") or schema["$defs"][schema["$ref"].rpartition("/")[2]]["properties"]
    table = Table("--set", "default", "bounds", "meaning", box=SIMPLE)
    for name, shape in fields.items():
        if name != "name":
            table.add_row(name, Text(json.dumps(shape.get("default"))), _bounds(shape), shape.get("description", ""))
    console.print(table)


def percent(value: float | None) -> str:
    """A probability for a person."""
    return "unknown" if value is None else f"{value:.0%}"


def _call(event: ToolEvent) -> str:
    """A tool's call as it would be written, what it brought, and the first of its lines."""
    arguments = " ".join(f"{name}={_short(json.dumps(value))}" for name, value in event.arguments.items())
    first = f": {_short(str(event.data[0]['text']))}" if event.data else ""
    seen = f", {_frames(event.times)}" if event.times else ""
    return f"{event.tool} {arguments} → {event.summary}{first}{seen}"


def _frames(times: tuple[float, ...]) -> str:
    if not times:
        return "no frames"
    return f"{_plural(len(times), 'frame')} from {min(times):.1f} to {max(times):.1f} s"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _bounds(shape: Mapping[str, Any]) -> str:
    if "enum" in shape:
        return " | ".join(shape["enum"])
    low = [shape.get("minimum"), shape.get("exclusiveMinimum")]
    high = [shape.get("maximum"), shape.get("exclusiveMaximum")]
    ends = [next((str(end) for end in side if end is not None), "") for side in (low, high)]
    return "…".join(ends) if any(ends) else ""


def _unwrapped(text: str) -> str:
    """Paragraphs without the line breaks of the source file."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_WIDTH else f"{line[: _MAX_WIDTH - 1]}…"
