"""Runs a gateway: ``python -m gateway --config gateway.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from gateway.main import serve
from gateway.security.tokens import TokenFileError
from gateway.settings import GatewaySettings
from runtime.keyfiles import KeyFileError
from runtime.listener import ListenError
from runtime.logs import configure
from runtime.settings import SettingsError, load

__all__ = ["main"]


def main(config: Annotated[Path, typer.Option(help="The configuration file, gateway.toml.")]) -> None:
    """Run one gateway until SIGTERM."""
    try:
        settings = load(config, GatewaySettings)
        configure(settings.log.level, settings.log.format, role="gateway")
        uvloop.run(serve(settings))
    except (SettingsError, KeyFileError, TokenFileError, ListenError, OSError) as exc:
        typer.echo(f"gateway: {exc}", err=True)
        raise typer.Exit(2) from exc


if __name__ == "__main__":
    typer.run(main)
