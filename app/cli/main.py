"""The command `secondlook`."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agents.presets import Catalogue
from app.access.caller import LOCAL
from app.answers.preferences import AnswerSpec
from app.answers.schemas import AnswerRequest, AnswerResponse
from app.answers.service import AnswerService
from app.catalog import StrategyList, strategy_cards
from app.cli.demo import DEMO_SEED, run_demo
from app.cli.index_commands import index, search
from app.cli.key_commands import keys, open_keys
from app.cli.terminal import exit_on_error, progress, show_answer, show_card, show_cards
from app.errors import BadRequest, Misconfigured
from app.extras import Extras
from app.indexes.manager import IndexManager
from app.main import create_app
from app.middleware import check_body_size, is_loopback
from app.server import Server
from app.service import running_engine
from app.settings import Settings
from app.telemetry.logs import log_config
from app.videos import VideoLoader, decoder_running, make_decoder

_HELP = """Ask a question about a video, and say how much looking and thinking you can afford.

[bold]Examples[/]

  secondlook demo
  secondlook ask video.mp4 "Which shape appears first?"
  secondlook serve --engine vllm:Qwen/Qwen3-VL-8B-Instruct
  secondlook index lecture.mp4

[bold]Engines[/] (--engine, or SECONDLOOK_ENGINE)

  demo:                                       the demo model (default)
  vllm:Qwen/Qwen3-VL-8B-Instruct              vLLM, started and kept alive
  openai:http://127.0.0.1:8001/v1?model=NAME  any server with an OpenAI API
  transformers:FOLDER-OR-ID?device=cuda       Hugging Face, in process
  scripted:TEXT                               no model: always this reply
"""
_ASK, _SERVE, _LONG, _ACCESS = "Ask", "Serve", "Long videos", "Access"
cli = typer.Typer(name="secondlook", help=_HELP, rich_markup_mode="rich", no_args_is_help=True, add_completion=False)
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", "--model", metavar="URL", help="demo:, vllm:ID, openai:URL, …; see `secondlook --help`."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, as the service sends it.")]
_EXAMPLE = '{"video": "file_…", "question": "Which shape appears first?"}'


def main() -> None:
    """Run the command line."""
    cli()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"secondlook {version('secondlook')}")
        raise typer.Exit


@cli.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; its help text is `_HELP`."""


@cli.command(rich_help_panel=_SERVE)
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    engine: EngineOption = None,
) -> None:
    """Start the service. Other settings come from the environment: SECONDLOOK_VIDEO_DIR, SECONDLOOK_MAX_RUNS, …"""
    with exit_on_error(as_json=False):
        settings = _settings(host=host, port=port, engine=engine)
        has_keys = _check_exposure(settings)
        service = create_app(settings)
    at = f"http://{settings.host}:{settings.port}"
    say = Console(stderr=True, soft_wrap=True, highlight=False)
    say.print(f"[bold]Second Look[/] answers at {at} with {settings.engine}")
    key = ' -H "Authorization: Bearer $KEY"' if has_keys else ""
    say.print(f"  send a video    curl{key} -F file=@video.mp4 {at}/v1/files", markup=False)
    say.print(f"  ask about it    curl{key} --json '{_EXAMPLE}' {at}/v1/answers", markup=False)
    say.print(f"  read and try    {at}/docs")
    Server(service, log_config=log_config(settings.log_format), access_log=False).run()


@cli.command(rich_help_panel=_ASK)
def ask(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    question: Annotated[str, typer.Argument(help="A question about it.")],
    option: Annotated[list[str] | None, typer.Option(help="A possible answer; give two or more.")] = None,
    kind: Annotated[str | None, typer.Option(help="text, number, yesno or open; options make it choice.")] = None,
    strategy: Annotated[str | None, typer.Option(help="How to answer: see `secondlook strategies`.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Its parameters.")] = None,
    frames: Annotated[int | None, typer.Option(help="Budget: frames shown to the model.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Budget: tokens read and written.")] = None,
    calls: Annotated[int | None, typer.Option(help="Budget: calls to the model.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Budget: seconds on the clock.")] = None,
    start: Annotated[float | None, typer.Option(help="Second from which on to look.")] = None,
    end: Annotated[float | None, typer.Option(help="Second until which to look.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same frames and samples.")] = 0,
    engine: EngineOption = None,
    as_json: JsonOption = False,
    trace: Annotated[bool, typer.Option(help="Print each step to stderr.")] = False,
) -> None:
    """Ask a question about a video."""
    with exit_on_error(as_json):
        settings = _settings(engine=engine, video_dir=Path(video.absolute().anchor))
        budget = {"frames": frames, "tokens": tokens, "calls": calls, "seconds": seconds}
        request = _request(
            settings,
            video={"path": str(video.absolute())},
            question=question,
            options=option,
            kind=kind,
            strategy={**_parameters(set_ or []), "name": strategy or settings.strategy},
            budget=_given(budget),
            start=start,
            end=end,
            seed=seed,
        )
        response = asyncio.run(_ask(settings, request, trace))
    if as_json:
        typer.echo(response.model_dump_json(indent=2))
    else:
        show_answer(Console(), response)


@cli.command(rich_help_panel=_ASK)
def strategies(
    name: Annotated[str | None, typer.Argument(help="One of them, in full.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which strategy to use when and list them all, or show one with its parameters."""
    with exit_on_error(as_json):
        catalogue = Catalogue.load()
        if name is not None:
            catalogue.resolve(name)
        found = [card for card in strategy_cards(catalogue) if name in (None, card.name)]
    if as_json:
        typer.echo(StrategyList(data=found).model_dump_json(indent=2))
    elif name is None:
        show_cards(Console(), found)
    else:
        show_card(Console(), found[0])


@cli.command(rich_help_panel=_ASK)
def demo(
    seed: Annotated[int, typer.Option(help="Which video: any number.")] = DEMO_SEED,
    questions: Annotated[int, typer.Option(min=1, max=50, help="How many questions.")] = 5,
    keep: Annotated[Path | None, typer.Option(help="Where to keep the video.")] = None,
    engine: EngineOption = None,
) -> None:
    """Make a video, ask questions about it in several ways, and compare the answers with the truth."""
    with exit_on_error(as_json=False):
        settings = _settings(engine=engine)
        asyncio.run(run_demo(settings, seed, questions, keep, Console()))


cli.command(rich_help_panel=_LONG)(index)
cli.command(rich_help_panel=_LONG)(search)
cli.add_typer(keys, name="keys", rich_help_panel=_ACCESS)


def _check_exposure(settings: Settings) -> bool:
    """Whether there are keys. Raises Misconfigured if others could reach a service that has none."""
    with open_keys(settings) as all_keys:
        has_keys = all_keys.any_exist()
    if not has_keys and not is_loopback(settings.host):
        raise Misconfigured(
            f"There are no API keys, and {settings.host} can be reached from other machines. Make a key with "
            "`secondlook keys create TENANT`, or set SECONDLOOK_API_KEY, or listen on 127.0.0.1."
        )
    return has_keys


async def _ask(settings: Settings, request: AnswerRequest, trace: bool) -> AnswerResponse:
    with progress(f"Loading {settings.engine}", trace) as listener:
        decoder, extras = make_decoder(settings), Extras.of(settings)
        async with (
            decoder_running(decoder, settings),
            running_engine(settings) as engine,
            aclosing(IndexManager(settings)) as indexes,
        ):
            answers = AnswerService(settings, Catalogue.load(), VideoLoader(settings, decoder), engine, indexes, extras)
            return await answers.answer(AnswerSpec(request), LOCAL, listener)


def _settings(**given: Any) -> Settings:
    """The settings of the environment, except where the command line says otherwise."""
    return Settings(**_given(given))


def _request(settings: Settings, **fields: Any) -> AnswerRequest:
    """What the service would have read, within the same bound."""
    wanted = _given(fields)
    check_body_size(len(json.dumps(wanted).encode()), settings.max_question_bytes)
    return AnswerRequest.model_validate(wanted)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _parameters(pairs: list[str]) -> dict[str, Any]:
    """`key=value` pairs; a value is JSON if it can be read as that, else text."""
    parameters = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise BadRequest(f"--set {pair}: write it as KEY=VALUE.", param="strategy")
        try:
            parameters[key] = json.loads(value)
        except json.JSONDecodeError:
            parameters[key] = value
    return parameters
