"""What a run says: a table for people, a file for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.sizes import Sizes
from benchmarks.targets import Verdict, judge

__all__ = ["Report", "make_report", "print_report", "write_report"]

_PEERS = ("celery_tasks_per_s", "dask_tasks_per_s")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    figures: dict[str, float]
    """Medians over the rounds, by name."""
    rounds: dict[str, list[float]]
    """The values that they are the medians of."""
    verdicts: list[Verdict]
    machine: Machine
    sizes: Sizes


def make_report(values: Mapping[str, Sequence[float]], machine: Machine, sizes: Sizes) -> Report:
    """Return the report of what was measured."""
    figures = {name: round(median(several), 3) for name, several in values.items()}
    rounds = {name: [round(value, 3) for value in several] for name, several in values.items()}
    return Report(figures=figures, rounds=rounds, verdicts=judge(figures), machine=machine, sizes=sizes)


def write_report(report: Report, path: Path) -> None:
    """Write a report as JSON: each figure under its name at the top, and beside them what they come from."""
    content = {**report.figures, **{name: getattr(report, name) for name in ("verdicts", "machine", "sizes", "rounds")}}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def print_report(report: Report, console: Console) -> None:
    """Print all figures, then the ratios to the peers and what was met."""
    console.print(_figures(report))
    console.print(_verdicts(report.verdicts))


def _figures(report: Report) -> Table:
    rounds = max(map(len, report.rounds.values()), default=0)
    table = Table("figure", title=f"Medians of {rounds} rounds on {report.machine.processors} processors")
    for title in ("median", "lowest", "highest", *(f"x {peer.partition('_')[0]}" for peer in _PEERS)):
        table.add_column(title, justify="right")
    for name, value in report.figures.items():
        several = report.rounds[name]
        table.add_row(name, *map(_short, (value, min(several), max(several))), *(_ratio(name, value, report.figures.get(peer)) for peer in _PEERS))
    return table


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    table = Table("figure", "target", title="Targets")
    table.add_column("reached", justify="right")
    table.add_column("verdict")
    for one in verdicts:
        verdict = "[green]met" if one.met else f"[red]missed by {one.missed_by_percent:g} %"
        table.add_row(one.figure, one.target, _short(one.reached), verdict)
    return table


def _ratio(name: str, value: float, peer: float | None) -> str:
    return f"{value / peer:.1f}" if peer and name.endswith("_tasks_per_s") else ""


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"  # noqa: PLR2004 - where decimals stop to matter
