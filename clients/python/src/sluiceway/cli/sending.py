"""``sluiceway submit`` and ``sluiceway fetch``: task inputs from files, outputs into files."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sluiceway.aio.session import AsyncSession
from sluiceway.cli.site import Application, CaFile, Gateways, Grid, Json, Patience, Proxy, Site, TokenFile, failures, find_site
from sluiceway.outputs import Output
from sluiceway.tasks import TaskInput

__all__ = ["fetch", "submit"]

_SOME_FAILED = 3


def submit(  # noqa: PLR0913, PLR0917 - one parameter per option
    files: Annotated[list[Path] | None, typer.Argument(help="A task input each; '-' is standard input.", show_default=False)] = None,
    lines: Annotated[Path | None, typer.Option("--lines", help="A file of which each line is a task input; '-' is standard input.", show_default=False)] = None,
    session_id: Annotated[
        str | None, typer.Option("--session", help="Send into this session, by its id; without it one is created.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The new session's name.", show_default=False)] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="A tag for the tasks.", show_default=False)] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Names this submission: repeated with the same key nothing is sent twice.", show_default=False)
    ] = None,
    grid: Grid = None,
    application: Application = None,
    gateway: Gateways = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    proxy: Proxy = None,
    patience: Patience = 30.0,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outputs, print them, and close the session if it was created here.")] = False,
    as_json: Json = False,
) -> None:
    """Send task inputs; prints the session's id and the task ids, or with --wait the outputs.

    Exit code 3 when --wait saw a task fail.

    Example: sluiceway submit --application ping --wait input-1.bin input-2.bin
    """
    with failures():
        inputs = [TaskInput(value=one, tag=tag) for one in _inputs(files or [], lines)]
        if not inputs:
            raise typer.BadParameter("name files, or a file of lines with --lines")
        site = find_site(gateway, token_file, ca_file, proxy=proxy, grid=grid, application=application, patience=patience)
        code = asyncio.run(_submit(site, inputs, session_id=session_id, name=name, key=key, wait=wait, as_json=as_json))
    raise typer.Exit(code)


def _inputs(files: list[Path], lines: Path | None) -> Iterator[bytes]:
    for file in files:
        yield _read(file)
    if lines is not None:
        yield from _read(lines).splitlines()


def _read(file: Path) -> bytes:
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


async def _submit(  # noqa: PLR0913 - one argument per option
    site: Site, inputs: list[TaskInput], *, session_id: str | None, name: str | None, key: str | None, wait: bool, as_json: bool
) -> int:
    async with site.client() as client:
        if session_id is not None:
            session = await client.attach(session_id)
        else:
            if site.application is None:
                raise typer.BadParameter("name the application with --application")
            session = await (await client.connect(grid=site.grid, application=site.application)).create_session(name=name)
        ids = await session.send(inputs, key=key)
        if not wait:
            _print_ids(session.session_id, ids, as_json=as_json)
            return 0
        code = await _print_outputs(session, wanted=set(ids), folder=None, as_json=as_json)
        if session_id is None:
            await session.close()
        return code


def _print_ids(session_id: str, ids: list[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"sessionId": session_id, "taskIds": ids}))
        return
    typer.echo(session_id)
    for one in ids:
        typer.echo(one)


def fetch(  # noqa: PLR0913, PLR0917 - one parameter per option
    session_id: Annotated[str, typer.Argument(help="The session's id.", show_default=False)],
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many outputs.", show_default=False)] = None,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Where to begin, from an earlier run's --json.", show_default=False)] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A folder: each output goes into a file named by its task id.", show_default=False)] = None,
    gateway: Gateways = None,
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    proxy: Proxy = None,
    patience: Patience = 30.0,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for outputs until the session ends or --count have come.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch a session's outputs: those that are there, or all to come with --follow.

    Exit code 3 when a task has failed.

    Example: sluiceway fetch SESSION --follow --out results
    """
    with failures():
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        site = find_site(gateway, token_file, ca_file, proxy=proxy, patience=patience)
        code = asyncio.run(_fetch(site, session_id, cursor=cursor, count=count, folder=out, follow=follow, as_json=as_json))
    raise typer.Exit(code)


async def _fetch(  # noqa: PLR0913 - one argument per option
    site: Site, session_id: str, *, cursor: str | None, count: int | None, folder: Path | None, follow: bool, as_json: bool
) -> int:
    async with site.client() as client:
        session = await client.attach(session_id, cursor=cursor)
        failed = 0
        left = sys.maxsize if count is None else count
        while left > 0:
            outputs = await session.next_outputs(limit=left, wait=20.0 if follow else 0.0)
            for one in outputs:
                _print_output(one, folder=folder, as_json=as_json)
                failed += not one.successful
            left -= len(outputs)
            if session.ended or (not outputs and not follow):
                break
        # What was printed is safe with the caller: only now the grid may forget it.
        await session.acknowledge()
        if as_json:
            typer.echo(json.dumps({"cursor": session.cursor, "ended": session.ended}))
        return _SOME_FAILED if failed else 0


async def _print_outputs(session: AsyncSession, *, wanted: set[str], folder: Path | None, as_json: bool) -> int:
    failed = False
    async for one in session.outputs():
        if one.task_id in wanted:
            wanted.discard(one.task_id)
            failed |= not one.successful
            _print_output(one, folder=folder, as_json=as_json)
        if not wanted:
            break
    await session.acknowledge()
    return _SOME_FAILED if failed else 0


def _print_output(output: Output, *, folder: Path | None, as_json: bool) -> None:
    payload = output.payload
    if folder is not None and payload is not None:
        (folder / output.task_id).write_bytes(payload)
    if as_json:
        typer.echo(json.dumps(_plain(output, with_payload=folder is None)))
    elif payload is None:
        typer.echo(f"{output.task_id}\t{output.error}", err=True)
    elif folder is not None:
        typer.echo(output.task_id)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(payload + b"\n")
        sys.stdout.buffer.flush()


def _plain(output: Output, *, with_payload: bool) -> dict[str, object]:
    item = output.item
    plain: dict[str, object] = {
        "taskId": item.task_id,
        "tag": item.tag,
        "sequence": item.sequence,
        "successful": item.successful,
        "finishedAt": item.finished_at,
    }
    if output.payload is not None and with_payload:
        plain["output"] = base64.b64encode(output.payload).decode()
    if item.exception is not None:
        plain["exception"] = {
            "errorType": item.exception.error_type,
            "errorCode": item.exception.error_code,
            "code": item.exception.code,
            "message": str(output.error),
        }
    return plain
