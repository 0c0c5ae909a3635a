"""``sluiceway grids`` and ``sluiceway sessions``: what is there."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from sluiceway.cli.site import CaFile, Gateways, Json, Patience, Proxy, Site, TokenFile, failures, find_site
from sluiceway.records import GridDescription, SessionList

__all__ = ["grids", "sessions"]


def grids(
    gateway: Gateways = None, token_file: TokenFile = None, ca_file: CaFile = None, proxy: Proxy = None, patience: Patience = 30.0, *, as_json: Json = False
) -> None:
    """List the grids that you may use.

    Example: sluiceway grids --gateway https://gateway.example:8443 --token-file token
    """
    with failures():
        found = asyncio.run(_grids(find_site(gateway, token_file, ca_file, proxy=proxy, patience=patience)))
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(one) for one in found]))
        return
    rows = [[one.name, one.state, one.kind, ", ".join(one.applications), one.log_on, ", ".join(one.clusters)] for one in found]
    _print_table(["grid", "state", "kind", "applications", "log-on", "clusters"], rows)


async def _grids(site: Site) -> tuple[GridDescription, ...]:
    async with site.client() as client:
        return await client.grids()


def sessions(
    gateway: Gateways = None, token_file: TokenFile = None, ca_file: CaFile = None, proxy: Proxy = None, patience: Patience = 30.0, *, as_json: Json = False
) -> None:
    """List your sessions with their states and counts of tasks.

    Example: sluiceway sessions --json
    """
    with failures():
        found = asyncio.run(_sessions(find_site(gateway, token_file, ca_file, proxy=proxy, patience=patience)))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found)))
        return
    rows = [
        [
            one.name or "-",
            one.state,
            one.grid,
            one.application_name,
            datetime.fromtimestamp(one.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            f"{one.tasks.done + one.tasks.error + one.tasks.canceled}/{one.tasks.received}",
            one.session_id,
        ]
        for one in found.sessions
    ]
    _print_table(["name", "state", "grid", "application", "created (UTC)", "ended/sent", "session id"], rows)
    if not found.complete:
        typer.echo("a bridge did not answer in time: its sessions are missing here", err=True)


async def _sessions(site: Site) -> SessionList:
    async with site.client() as client:
        return await client.session_list()


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people, or lines with tabs into a pipe: ids must come out whole there."""
    console = Console()
    if not console.is_terminal:
        for row in rows:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
