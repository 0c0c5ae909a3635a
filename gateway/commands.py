"""The commands ``sluiceway token``: make, list and revoke the bearer tokens of callers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from gateway.security.principals import EVERY_GRID
from gateway.security.tokens import TokenFile, TokenFileError, add_token, load_tokens, remove_token

__all__ = ["token"]

T = TypeVar("T")

_DAY: Final = 24 * 3600

token = typer.Typer(name="token", help="Bearer tokens of callers. The file holds hashes only; gateways read it anew when it changes.", no_args_is_help=True)

_File = Annotated[Path, typer.Option("--file", help="The file of token hashes, as named by [tokens] in gateway.toml.", envvar="SLUICEWAY_TOKENS")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Name = Annotated[str, typer.Argument(help="Whom the token stands for, such as a program or a person.")]


@token.command()
def create(
    name: _Name,
    file: _File,
    grid: Annotated[list[str] | None, typer.Option("--grid", help="A grid the caller may use; may be repeated. Without it: every grid.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="After how many days the token expires. Without it: never.")] = None,
    as_json: _Json = False,  # noqa: FBT002 - typer's way to declare a switch
) -> None:
    """Make a token and print its secret, once.

    Example: sluiceway token create pricing --file tokens.json --grid RNDBCARDI_PROD --days 90
    """
    now = int(time.time())
    secret = _or_exit(lambda: add_token(file, name=name, grids=tuple(grid or (EVERY_GRID,)), expires=None if days is None else now + days * _DAY, now=now))
    if as_json:
        typer.echo(json.dumps({"name": name, "token": secret}))
        return
    typer.echo(secret)
    typer.echo("This secret is shown once. Keep it in a file of mode 0600.", err=True)


@token.command("list")
def show(file: _File, as_json: _Json = False) -> None:  # noqa: FBT002 - typer's way to declare a switch
    """List the tokens.

    Example: sluiceway token list --file tokens.json
    """
    stored: TokenFile = _or_exit(lambda: load_tokens(file))
    if as_json:
        rows = [{"name": e.name, "grids": e.grids, "created": _day(e.created), "expires": _day(e.expires)} for e in stored.tokens]
        typer.echo(json.dumps(rows))
        return
    for entry in stored.tokens:
        until = f"expires {_day(entry.expires)}" if entry.expires else ""
        typer.echo(f"{entry.name}\t{','.join(entry.grids)}\tcreated {_day(entry.created)}\t{until}".rstrip())


@token.command()
def revoke(name: _Name, file: _File) -> None:
    """Revoke a token; gateways refuse it within a second or two.

    Example: sluiceway token revoke pricing --file tokens.json
    """
    _or_exit(lambda: remove_token(file, name))
    typer.echo(f"revoked {name}")


def _or_exit(work: Callable[[], T]) -> T:
    try:
        return work()
    except (TokenFileError, OSError) as exc:
        typer.echo(f"sluiceway token: {exc}", err=True)
        raise typer.Exit(1) from exc


def _day(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()
