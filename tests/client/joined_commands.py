"""Commands that a test joins to the program, as rooms do."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()


@app.callback()
def group() -> None:
    """A group of commands."""


@app.command()
def greet() -> None:
    """Greet."""
    typer.echo("hello")


def plain(*, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
    """Speak."""
    typer.echo("PLAIN" if loud else "plain")
