"""The commands `secondlook keys …`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from app.access.caller import ALL_SCOPES, KeyScope, Quota
from app.access.keys import KeyStore, NewKey
from app.cli.terminal import exit_on_error
from app.db.session import Database
from app.db.tables import KeyRecord
from app.errors import BadRequest
from app.settings import Settings

keys = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyIdArgument = Annotated[str, typer.Argument(metavar="KEY", help="A key's id: the twelve characters after sl_.")]
_DAY = 24 * 3600.0


@contextmanager
def open_keys(settings: Settings) -> Iterator[KeyStore]:
    """The keys of the service with these settings; it may be running."""
    records = Database(settings.records_url)
    records.open()
    try:
        secret = settings.api_key.get_secret_value() if settings.api_key else None
        yield KeyStore(records, settings.quota, secret)
    finally:
        records.close()


@keys.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Whose files and runs the key sees; keys may share a tenant.")],
    note: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="answer, files, read, metrics; without it, all.")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="How long the key is good; without it, for ever.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help=f"One of {', '.join(Quota.model_fields)}; the number may be none."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. Its secret is shown this once."""
    with exit_on_error(as_json), open_keys(Settings()) as all_keys:
        scopes = _scopes(scope) if scope else ALL_SCOPES
        seconds = None if days is None else days * _DAY
        made = all_keys.create(tenant, note=note, scopes=scopes, quota=_limits(limit or []), seconds=seconds)
    _show_secret(made, as_json)


@keys.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List all keys, without their secrets."""
    with exit_on_error(as_json), open_keys(Settings()) as all_keys:
        cards = [_card(record, all_keys.state(record)) for record in all_keys.list()]
    if as_json:
        typer.echo(json.dumps(cards, indent=2))
        return
    table = Table(box=SIMPLE, highlight=False)
    for name in ("key", "tenant", "state", "scopes", "limits", "created", "expires", "note"):
        table.add_column(name, no_wrap=name == "key", overflow="fold")
    for card in cards:
        limits = " ".join(f"{name}={value}" for name, value in card["limits"].items())
        facts = (card["id"], card["tenant"], card["state"], " ".join(card["scopes"]), limits)
        table.add_row(*facts, card["created_at"], card["expires_at"] or "never", card["note"])
    Console().print(table)


@keys.command()
def rotate(
    key: KeyIdArgument,
    keep_hours: Annotated[float, typer.Option(min=0, help="How long the old secret stays good.")] = 24.0,
    as_json: JsonOption = False,
) -> None:
    """Give a key a new secret; it keeps its id, tenant, scopes and limits."""
    with exit_on_error(as_json), open_keys(Settings()) as all_keys:
        made = all_keys.rotate(key, keep_hours * 3600)
    _show_secret(made, as_json)


@keys.command()
def revoke(key: KeyIdArgument) -> None:
    """End a key at once. What its tenant has stored stays."""
    with exit_on_error(as_json=False), open_keys(Settings()) as all_keys:
        record = all_keys.revoke(key)
    typer.echo(f"{record.id} of {record.tenant} is revoked.", err=True)


def _show_secret(made: NewKey, as_json: bool) -> None:
    """On stdout nothing but the secret, so that a script can take it."""
    if as_json:
        typer.echo(json.dumps({**_card(made.record, "active"), "secret": made.secret}, indent=2))
        return
    typer.echo(f"Key {made.record.id} of {made.record.tenant}. This is shown once; keep it safe:", err=True)
    typer.echo(made.secret)


def _card(record: KeyRecord, state: str) -> dict[str, Any]:
    return {
        "id": record.id,
        "tenant": record.tenant,
        "state": state,
        "scopes": record.scopes,
        "limits": record.quota,
        "created_at": _date(record.created_at),
        "expires_at": record.expires_at and _date(record.expires_at),
        "note": record.note,
    }


def _date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(" ", "minutes").removesuffix("+00:00")


def _scopes(given: list[str]) -> list[KeyScope]:
    for name in given:
        if name not in ALL_SCOPES:
            raise BadRequest(f"--scope {name}: choose among {', '.join(sorted(ALL_SCOPES))}.", param="scope")
    return [scope for scope in ALL_SCOPES if scope in given]


def _limits(pairs: list[str]) -> dict[str, Any]:
    """`name=number` pairs; `none` lifts a limit that the settings have. The quota says whether they are right."""
    limits: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadRequest(f"--limit {pair}: write it as NAME=NUMBER.", param="limit")
        limits[name] = None if value == "none" else value
    return limits
