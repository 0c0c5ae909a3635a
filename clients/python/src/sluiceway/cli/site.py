"""Where the command line finds gateways: options, environment, or the stack that runs in this folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from sluiceway.aio.gateway import AsyncGateway
from sluiceway.errors import SluicewayError
from sluiceway.http.options import GatewayOptions
from sluiceway.http.retries import RetryPolicy

__all__ = ["Application", "CaFile", "Gateways", "Grid", "Json", "Patience", "Proxy", "Site", "TokenFile", "failures", "find_site"]

_STATE: Final = Path(".sluiceway/client.json")
_FAILED: Final = 1
_INTERRUPTED: Final = 130

Gateways = Annotated[
    list[str] | None,
    typer.Option(
        "--gateway",
        "-g",
        help="A gateway's address; may be repeated. [env SLUICEWAY_GATEWAYS, separated by spaces; the stack of 'sluiceway up']",
        show_default=False,
    ),
]
TokenFile = Annotated[Path | None, typer.Option("--token-file", help="The file with the bearer token. [env SLUICEWAY_TOKEN_FILE]", show_default=False)]
CaFile = Annotated[Path | None, typer.Option("--ca-file", help="Certificates (PEM) to verify gateways with. [env SLUICEWAY_CA_FILE]", show_default=False)]
Proxy = Annotated[str | None, typer.Option("--proxy", help="A corporate proxy; HTTPS_PROXY and NO_PROXY count without it.", show_default=False)]
Patience = Annotated[float, typer.Option("--patience", help="Seconds to go on trying when gateways do not answer.")]
Grid = Annotated[str | None, typer.Option("--grid", help="The grid's name. [env SLUICEWAY_GRID]", show_default=False)]
Application = Annotated[str | None, typer.Option("--application", "-a", help="The application's name. [env SLUICEWAY_APPLICATION]", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True, kw_only=True)
class Site:
    """The gateways in question, and how to enter."""

    gateways: tuple[str, ...]
    options: GatewayOptions
    grid: str | None
    application: str | None

    def client(self) -> AsyncGateway:
        """Return a client of them."""
        return AsyncGateway(self.gateways, options=self.options)


def _state() -> Mapping[str, object]:
    """Return what 'sluiceway up' wrote in this folder."""
    try:
        state = json.loads(_STATE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def find_site(  # noqa: PLR0913 - one argument per option
    gateways: list[str] | None,
    token_file: Path | None,
    ca_file: Path | None,
    *,
    proxy: str | None = None,
    grid: str | None = None,
    application: str | None = None,
    patience: float = 30.0,
) -> Site:
    """Put the options together; what is missing comes from the environment, or all of it from the stack that runs here.

    Raises:
        typer.BadParameter: No gateway is known.
    """
    state = _state() if not gateways and "SLUICEWAY_GATEWAYS" not in os.environ else {}
    urls = gateways or os.environ.get("SLUICEWAY_GATEWAYS", "").split() or _texts(state.get("gateways"))
    if not urls:
        raise typer.BadParameter("name a gateway with --gateway or SLUICEWAY_GATEWAYS, or run 'sluiceway up' in this folder")

    def value(given: object, name: str) -> str | None:
        found = given or os.environ.get(f"SLUICEWAY_{name.upper()}") or state.get(name)
        return str(found) if found else None

    options = GatewayOptions(
        token_file=value(token_file, "token_file"),
        ca_file=value(ca_file, "ca_file"),
        proxy=proxy,
        retries=RetryPolicy(deadline=patience, quota_deadline=max(patience, 600.0)),
    )
    return Site(gateways=tuple(urls), options=options, grid=value(grid, "grid"), application=value(application, "application"))


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


@contextmanager
def failures() -> Iterator[None]:
    """Say what went wrong in one line; exit codes: 1 it failed, 2 wrong use, 130 interrupted."""
    try:
        yield
    except (SluicewayError, ValueError, OSError) as exc:
        typer.echo(f"sluiceway: {exc}", err=True)
        raise typer.Exit(_FAILED) from exc
    except KeyboardInterrupt as exc:
        raise typer.Exit(_INTERRUPTED) from exc
