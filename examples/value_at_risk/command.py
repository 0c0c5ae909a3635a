"""``sluiceway demo``: a bank's value at risk on a grid of this machine, with a gateway and a bridge worker killed half way."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer
from rich.console import Console

from sluiceway.cli.site import failures

__all__ = ["demo"]

_MARK: Final = "made-by-sluiceway-demo"
_FAILED: Final = 1
_LEAST_DAYS: Final = 3


def demo(  # noqa: PLR0913 - one parameter per option
    *,
    directory: Annotated[Path, typer.Option("--directory", "-d", help="Where the stack's files lie while it runs.")] = Path(".sluiceway/demo"),
    days_per_task: Annotated[int, typer.Option("--days-per-task", min=1, help="Scenarios in one task.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=1, max=10_000, help="Time steps of the lattices: the work of one scenario.")] = 100,
    days: Annotated[
        int | None, typer.Option("--days", min=_LEAST_DAYS, help="Replay only so many of the last trading days; all without it.", show_default=False)
    ] = None,
    plot: Annotated[Path, typer.Option("--plot", help="The PNG file to write.")] = Path(".sluiceway/value-at-risk.png"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the stack's files with their logs also when all went well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; what people read goes to standard error.")] = False,
    amqp_url: Annotated[
        str | None, typer.Option("--amqp-url", envvar="AMQP_URL", help="A RabbitMQ to use instead of a private node.", show_default=False)
    ] = None,
) -> None:
    """Compute a bank's value at risk on a grid of this machine, kill two processes half way, and check that nothing is lost.

    Starts a stack of its own: RabbitMQ, two gateways, two bridge workers, the grid RNDBCARDI_PROD. When half of the outputs have come, the
    gateway in use and the bridge worker that owns the session are killed (SIGKILL); the job goes on through the others. Then every loss is
    compared with the one computed without any grid. Nothing is left running. Exit code 1 when anything disagrees.

    Example: sluiceway demo

    Example: sluiceway demo --days 2000 --steps 50 --json
    """
    console = Console(stderr=as_json)
    with failures(), _interruptible():
        try:
            # Only here: numpy and matplotlib would slow down 'sluiceway --help', and not everybody has them.
            from examples.value_at_risk import run, summary  # noqa: PLC0415
        except ModuleNotFoundError as exc:
            raise OSError(f"the demo needs {exc.name}: pip install 'sluiceway-server[demo]', or run 'make demo'") from exc
        plan = run.DemoPlan(directory=directory, plot=plot, days_per_task=days_per_task, steps=steps, days=days, amqp_url=amqp_url)
        with _folder(directory) as folder:
            outcome = run.run_demo(plan, console=console)
            folder.wanted = keep or not outcome.agrees
        for line in summary.closing_lines(outcome, plot=plot):
            console.print(line, highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(summary.summary(outcome), indent=2))
    if not outcome.agrees:
        raise typer.Exit(_FAILED)


@dataclass
class _Folder:
    """Whether the stack's files are still wanted."""

    wanted: bool = True


@contextmanager
def _folder(directory: Path) -> Iterator[_Folder]:
    """Remove the folder in the end, where the demo has made it and nobody wants it any more: after a run without failure."""
    if not directory.exists():
        directory.mkdir(parents=True)
        (directory / _MARK).touch()
    folder = _Folder()
    try:
        yield folder
    except KeyboardInterrupt:
        folder.wanted = False
        raise
    finally:
        if not folder.wanted and (directory / _MARK).exists():
            shutil.rmtree(directory)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into ``KeyboardInterrupt``; later ones change nothing, because the stack is being stopped by then."""
    stopping = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
