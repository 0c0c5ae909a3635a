"""Puts the program together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint
from typing import Final

import typer

from sluiceway.cli import rooms
from sluiceway.cli.looking import grids, sessions
from sluiceway.cli.ping import ping
from sluiceway.cli.sending import fetch, submit
from sluiceway.cli.up import up
from sluiceway.version import VERSION

__all__ = ["build", "run"]

_OWN: Final[dict[str, Callable[..., None]]] = {"up": up, "submit": submit, "fetch": fetch, "sessions": sessions, "grids": grids, "ping": ping}


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's way to call back
    if wanted:
        typer.echo(f"sluiceway {VERSION}")
        raise typer.Exit


def build(arguments: Sequence[str], *, joined: Iterable[EntryPoint] | None = None) -> typer.Typer:
    """Return the program for these arguments."""
    app = typer.Typer(name="sluiceway", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @app.callback(help="Send work to compute grids over HTTPS, and run the gateways and bridges that carry it.")
    def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")) -> None:  # noqa: FBT001, FBT003
        """Typer wants a function here."""

    for name, command in _OWN.items():
        app.command(name=name)(command)
    rooms.join(app, arguments, own=_OWN, joined=joined)
    return app


def run() -> None:
    """Run the program."""
    build(sys.argv[1:])()
