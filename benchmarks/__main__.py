"""``make bench``: measures everything in one run and writes ``benchmarks/results/latest.json``."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.bench import open_bench
from benchmarks.machine import describe_machine
from benchmarks.report import Report, make_report, print_report, write_report
from benchmarks.rounds import PARTS, measure_all
from benchmarks.sizes import FULL, QUICK, Sizes
from runtime.logs import configure

__all__ = ["main"]

_LATEST = Path(__file__).parent / "results" / "latest.json"
_ROUNDS = 5

Only = Annotated[list[str] | None, typer.Option(help=f"Measure only this part; may be repeated: {', '.join(PARTS)}.", show_default=False)]
Rounds = Annotated[int, typer.Option(min=1, help="How often each part is measured; the median counts.")]
Quick = Annotated[bool, typer.Option("--quick", help="Small sizes, for a first look.")]
Output = Annotated[Path | None, typer.Option(help="Where the figures go. Default: results/latest.json, for full runs only.", show_default=False)]


def main(only: Only = None, rounds: Rounds = _ROUNDS, *, quick: Quick = False, output: Output = None) -> None:
    """Measure Sluiceway, Celery, Dask and the bare broker on one private RabbitMQ node.

    Speed never makes it fail. Example: python -m benchmarks --only celery --only sluiceway --rounds 1 --quick
    """
    names = only or list(PARTS)
    if unknown := set(names) - set(PARTS):
        raise typer.BadParameter(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    configure("warning", "console")
    report = asyncio.run(_measure(names, rounds, QUICK if quick else FULL))
    print_report(report, Console())
    complete = not only and not quick
    if path := output or (_LATEST if complete else None):
        write_report(report, path)


async def _measure(names: list[str], rounds: int, sizes: Sizes) -> Report:
    console = Console(stderr=True)
    task = asyncio.current_task()
    assert task is not None
    # As Ctrl-C does: every block ends what it has started, the broker too.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="sluiceway-bench-") as folder:
        async with open_bench(Path(folder), sizes) as bench:
            machine = await asyncio.to_thread(describe_machine, bench.broker_version)
            values = await measure_all(bench, names, rounds, console.print)
    return make_report(values, machine, sizes)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
