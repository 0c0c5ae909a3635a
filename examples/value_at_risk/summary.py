"""The demo's outcome for people, as its last lines, and for programs, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from examples.value_at_risk.blow import Outage
    from examples.value_at_risk.run import DemoOutcome

__all__ = ["closing_lines", "summary"]


def summary(outcome: DemoOutcome) -> dict[str, object]:
    """Return the outcome as plain values: amounts as text in US dollars to the cent, times in seconds."""
    result, verdict = outcome.result, outcome.verdict
    tally, blow, outage = result.tally, result.blow, result.outage
    return {
        "agrees": outcome.agrees,
        "tasks": len(tally.sent),
        "lost": tally.lost,
        "repeated": tally.repeated,
        "scenarios": verdict.scenarios,
        "scenarios_lost": tally.ledger.lost,
        "scenarios_repeated": tally.ledger.repeated,
        "identical": verdict.identical,
        "largest_relative_difference": verdict.difference,
        "figures_agree": verdict.figures_agree,
        "figures": [
            {"level": str(one.level), "value_at_risk": str(one.value_at_risk), "expected_shortfall": str(one.expected_shortfall)} for one in outcome.figures
        ],
        "killed": {"gateway": blow.gateway, "bridge": blow.bridge, "worker_processes": len(blow.workers), "survivors": len(blow.survivors)},
        "outage": {"answered_after": _rounded(outage.answered), "resumed_after": _rounded(outage.resumed)},
        "left_running": len(outcome.left),
        "seconds": {name: round(value, 2) for name, value in outcome.seconds.items()},
    }


def closing_lines(outcome: DemoOutcome, *, plot: Path) -> Iterator[str]:
    """Yield what a reader should take away."""
    result, seconds = outcome.result, outcome.seconds
    tally, outage = result.tally, result.outage
    yield f"picture: {plot}"
    yield (
        f"time:    {seconds['all']:.1f} s: start {seconds['start']:.1f}, job on the grid {seconds['job']:.1f}, stop {seconds['stop']:.1f}, "
        f"plain computation {seconds['plain']:.1f}"
    )
    yield f"outage:  {_outage(outage)}"
    yield f"tasks:   {len(tally.sent):,} sent, [bold]lost {tally.lost}, repeated {tally.repeated}[/]"
    if outcome.agrees:
        yield "[bold green]The grid's losses and figures equal the plain computation.[/]"
    else:
        yield "[bold red]Something disagrees: see above.[/]"


def _outage(outage: Outage) -> str:
    if outage.answered is None:
        return "nothing to notice, because all outputs had come by then; a longer job shows more"
    told = f"outputs came through the other gateway {outage.answered:.2f} s after the kill"
    return told if outage.resumed is None else f"{told}, the first one computed after it by the other bridge {outage.resumed:.2f} s after"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
