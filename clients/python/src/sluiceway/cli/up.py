"""``sluiceway up``: the whole stack on this machine, in the foreground."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from sluiceway.cli.site import failures
from sluiceway.stack import Application, Stack, StackPlan
from sluiceway.stack.processes import Program

__all__ = ["up"]


def up(  # noqa: PLR0913, PLR0917 - one parameter per option
    directory: Annotated[Path, typer.Option("--dir", help="Where all files lie; state of an earlier run is taken up again.")] = Path(".sluiceway"),
    gateways: Annotated[int, typer.Option("--gateways", min=1, max=64, help="How many HTTPS gateways.")] = 2,
    bridges: Annotated[int, typer.Option("--bridges", min=1, max=64, help="How many bridge workers.")] = 2,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Worker processes of each application at each bridge.")] = 1,
    lanes: Annotated[int, typer.Option("--lanes", min=1, max=1000, help="How many sessions can be open at once.")] = 16,
    grid: Annotated[str, typer.Option("--grid", help="The grid's name.")] = "RNDBCARDI_PROD",
    app: Annotated[
        list[str] | None, typer.Option("--app", help="An application as NAME=module:Class; may be repeated. 'ping' is always there.", show_default=False)
    ] = None,
    python_path: Annotated[list[Path] | None, typer.Option("--python-path", help="A folder with services; may be repeated.", show_default=False)] = None,
    amqp_url: Annotated[
        str | None, typer.Option("--amqp-url", envvar="AMQP_URL", help="A RabbitMQ to use instead of a private node.", show_default=False)
    ] = None,
) -> None:
    """Run the whole stack here until Ctrl-C: RabbitMQ, certificates, keys, a token, gateways, bridges with a local grid.

    Needs the server's rooms (pip install sluiceway-server) and RabbitMQ's program, or a broker named by AMQP_URL. Logs are in
    DIR/logs; commands such as 'sluiceway ping' find the stack when they are run in the same folder.

    Example: sluiceway up --app pricing=my.services:Pricing --python-path .
    """
    with failures():
        plan = StackPlan(
            directory=directory,
            grid=grid,
            applications=_applications(app or [], tuple(python_path or ())),
            gateways=gateways,
            bridges=bridges,
            processes=processes,
            lanes=lanes,
            amqp_url=amqp_url,
        )
        with _stopping() as stop, Stack(plan, tell=_tell) as stack:
            _introduce(stack)
            _watch(stack, stop)


def _applications(named: list[str], python_path: tuple[Path, ...]) -> tuple[Application, ...]:
    applications = [Application(name="ping", service="examples.ping.service:Ping")]
    for one in named:
        name, found, service = one.partition("=")
        if not found or not name or ":" not in service:
            raise typer.BadParameter(f"--app {one}: expected NAME=module:Class")
        applications.append(Application(name=name, service=service, python_path=python_path))
    return tuple(applications)


def _tell(line: str) -> None:
    typer.echo(line)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; while the stack starts they interrupt it instead, so that it is taken down."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            return
        stop.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _introduce(stack: Stack) -> None:
    for url in stack.urls:
        typer.echo(f"gateway: {url}")
    typer.echo(f"token:   {_short(stack.token_file)}")
    typer.echo(f"CA:      {_short(stack.ca_file)}")
    typer.echo(f"logs:    {_short(stack.directory / 'logs')}")
    typer.echo(f'try:     curl --cacert {_short(stack.ca_file)} -H "Authorization: Bearer $(cat {_short(stack.token_file)})" {stack.urls[0]}/v1/grids')
    typer.echo("Ctrl-C stops everything.")


def _short(path: Path) -> str:
    """Return the shorter of a path's two forms."""
    return min(str(path), os.path.relpath(path), key=len)


def _watch(stack: Stack, stop: threading.Event) -> None:
    """Wait; say of every process that ends by itself where its log is."""
    gone: set[Program] = set()
    try:
        while not stop.wait(0.5):
            _report(stack, gone, _tell)
    except KeyboardInterrupt:
        typer.echo("stopping")


def _report(stack: Stack, gone: set[Program], tell: Callable[[str], None]) -> None:
    for program in stack.programs:
        if not program.running and program not in gone:
            gone.add(program)
            tell(f"{program.name} has ended by itself; its log is {_short(program.log)}")
    if stack.node in gone:
        raise OSError("the broker has ended, so nothing can work any more")
