"""The commands ``sluiceway config`` and ``sluiceway keys``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from runtime.keyfiles import KeyFileError, create_ring, load_ring, retire_key, rotate_ring
from runtime.roles import RoleError, load_checks, load_role
from runtime.settings import SettingsError, load
from schemas.sealing import KeyRing

__all__ = ["app", "keys"]

_WRONG: Final = 1
_UNUSABLE: Final = 2

app = typer.Typer(name="config", help="Check and show configuration files.", no_args_is_help=True)
keys = typer.Typer(name="keys", help="Make and rotate the key ring that seals ids and cursors.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The TOML file.", show_default=False)]
Role = Annotated[str, typer.Option("--role", help="Whose file it is: gateway, bridge or broker.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Ring = Annotated[Path, typer.Argument(help="The key ring file, such as keys.json.", show_default=False)]


@app.command(epilog="Example: sluiceway config check gateway.toml --role gateway")
def check(file: File, role: Role, *, as_json: Json = False) -> None:
    """Print every problem of a configuration file; exit code 1 when there is one, 2 when the role is unknown."""
    problems = tuple(_problems(file, role))
    if as_json:
        _print_json({"file": str(file), "role": role, "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(f"{file}: {problem}", err=True)
        if not problems:
            typer.echo(f"{file}: fits the role {role}")
    raise typer.Exit(_WRONG if problems else 0)


@app.command(epilog="Example: sluiceway config show gateway.toml --role gateway --redacted")
def show(
    file: File,
    role: Role,
    *,
    redacted: Annotated[bool, typer.Option("--redacted", help="Hide addresses and paths too, so that the text may go into a ticket.")] = False,
    as_json: Json = False,
) -> None:
    """Print the settings in force, defaults included. Secrets stay in their files and are never printed."""
    try:
        settings = load(file, _kind(role))
    except SettingsError as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(_WRONG) from exc
    plain = msgspec.json.decode(msgspec.json.encode(settings, enc_hook=str))
    table = _hide(plain) if redacted else plain
    if as_json:
        _print_json(table)
    else:
        for line in _lines(table, ""):
            typer.echo(line)


@keys.command(epilog="Example: sluiceway keys create keys.json")
def create(ring: Ring, *, as_json: Json = False) -> None:
    """Make a key ring of one key, readable by its owner only; an existing file is left alone."""
    try:
        _report(ring, create_ring(ring), as_json=as_json)
    except FileExistsError as exc:
        typer.echo(f"{ring}: is there already; a new ring would void every id and cursor that clients hold", err=True)
        raise typer.Exit(_WRONG) from exc
    except OSError as exc:
        typer.echo(f"{ring}: {exc.strerror}", err=True)
        raise typer.Exit(_WRONG) from exc


@keys.command(epilog="Example: sluiceway keys rotate keys.json")
def rotate(ring: Ring, *, as_json: Json = False) -> None:
    """Add a key that seals from now on; the older ones still open. Copy the file to every process before restarting the first."""
    _change(ring, lambda: rotate_ring(ring), as_json=as_json)


@keys.command(epilog="Example: sluiceway keys retire keys.json k1")
def retire(ring: Ring, name: Annotated[str, typer.Argument(help="The key's name.")], *, as_json: Json = False) -> None:
    """Remove a key; ids and cursors that it sealed are void from then on."""
    _change(ring, lambda: retire_key(ring, name), as_json=as_json)


@keys.command(name="show", epilog="Example: sluiceway keys show keys.json")
def show_ring(ring: Ring, *, as_json: Json = False) -> None:
    """Print the names of the keys, never the keys."""
    _change(ring, lambda: load_ring(ring), as_json=as_json)


def _change(path: Path, change: Callable[[], KeyRing], *, as_json: bool) -> None:
    try:
        _report(path, change(), as_json=as_json)
    except KeyFileError as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(_WRONG) from exc


def _report(path: Path, ring: KeyRing, *, as_json: bool) -> None:
    if as_json:
        _print_json({"file": str(path), "current": ring.current, "keys": sorted(ring.keys)})
    else:
        typer.echo(f"{path}: seals with {ring.current}, opens with {', '.join(sorted(ring.keys))}")


def _kind(role: str) -> type[msgspec.Struct]:
    try:
        return load_role(role)
    except RoleError as exc:
        typer.echo(str(exc), err=True)
        raise typer.Exit(_UNUSABLE) from exc


def _problems(file: Path, role: str) -> Iterator[str]:
    try:
        settings = load(file, _kind(role))
    except SettingsError as exc:
        yield from exc.problems
        return
    yield from _missing_files(msgspec.structs.asdict(settings), "")
    try:
        for extra in load_checks():
            yield from extra(role, settings)
    except RoleError as exc:
        yield str(exc)


def _missing_files(value: object, name: str) -> Iterator[str]:
    """Yield the files that settings name by a key ending in ``_file`` and that are not there."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _missing_files(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value, 1):
            yield from _missing_files(item, f"{name} number {position}")
    elif isinstance(value, Path) and name.endswith("_file") and not value.is_file():
        yield f"{name}: there is no file {value}"


def _hide(value: Any, key: str = "") -> Any:  # noqa: ANN401 - any tree of plain values
    if isinstance(value, Mapping):
        return {name: _hide(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_hide(item, key) for item in value]
    return "***" if isinstance(value, str) and (key == "host" or "/" in value or "@" in value) else value


def _lines(value: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - any tree of plain values
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _lines(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for position, item in enumerate(value):
            yield from _lines(item, f"{name}[{position}]")
    else:
        yield f"{name} = {msgspec.json.encode(value).decode()}"


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
