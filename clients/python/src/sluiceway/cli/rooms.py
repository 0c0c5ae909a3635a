"""Commands that live where the data is: rooms join them by the entry-point group ``sluiceway.commands``, loaded only when they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import typer

__all__ = ["GROUP", "join"]

GROUP: Final = "sluiceway.commands"
_FAILED: Final = 1


def join(app: typer.Typer, arguments: Sequence[str], *, own: Iterable[str], joined: Iterable[EntryPoint] | None = None) -> None:
    """Add to ``app`` the joined commands that these arguments need: the one that is named, or all for the overview.

    A command that cannot be loaded says so when it is called, and leaves the rest alone.

    Args:
        app: The program.
        arguments: What follows the program's name.
        own: Names of the program's own commands, which go before joined ones.
        joined: What rooms have joined; what installed distributions declare without it.
    """
    found = {one.name: one for one in (entry_points(group=GROUP) if joined is None else joined)}
    named = next((one for one in arguments if not one.startswith("-")), None)
    ours = set(own)
    wanted = [found[named]] if named in found else [] if named in ours else list(found.values())
    for entry in sorted(wanted, key=lambda one: one.name):
        if entry.name not in ours:
            _add(app, entry)


def _add(app: typer.Typer, entry: EntryPoint) -> None:
    try:
        command = entry.load()
    except Exception as exc:  # noqa: BLE001 - another distribution's module: whatever is wrong with it must not take the program along
        _add_broken(app, entry, exc)
        return
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=entry.name)
    else:
        app.command(name=entry.name)(command)


def _add_broken(app: typer.Typer, entry: EntryPoint, problem: Exception) -> None:
    line = f"cannot be loaded from {entry.value}: {type(problem).__name__}: {problem}"

    def fail() -> None:
        typer.echo(f"sluiceway: the command '{entry.name}' {line}", err=True)
        raise typer.Exit(_FAILED)

    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(name=entry.name, help=f"({line})", context_settings=settings, add_help_option=False)(fail)
