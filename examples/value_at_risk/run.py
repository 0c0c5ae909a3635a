"""The demo from start to end: the job on the grid, the same without any grid, and whether the two agree."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from examples.value_at_risk.check import Verdict, judge
from examples.value_at_risk.grid import GridResult, GridRun, stack_plan
from examples.value_at_risk.job import Job, build_job
from examples.value_at_risk.plain import plain_losses
from examples.value_at_risk.plot import write_histogram
from examples.value_at_risk.prices import PriceHistory, load_prices
from examples.value_at_risk.processes import ProcessTree
from examples.value_at_risk.report import book_table, check_table, distribution_table, figures_table, worst_table
from examples.value_at_risk.risk import RiskFigure, risk_figures

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console

__all__ = ["DemoOutcome", "DemoPlan", "run_demo"]


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """What to run.

    Args:
        directory: Where the stack's files lie.
        plot: The PNG file to write.
        days_per_task: Scenarios of one task.
        steps: Time steps of the lattices.
        days: How many of the last trading days to use; None: all.
        amqp_url: A RabbitMQ to use in place of a private node.
    """

    directory: Path
    plot: Path
    days_per_task: int
    steps: int
    days: int | None = None
    amqp_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class DemoOutcome:
    """What came of it.

    Args:
        result: What came back from the grid.
        verdict: How the losses compare with the plain ones.
        figures: VaR and expected shortfall.
        left: Processes that outlived the stack and had to be ended.
        seconds: What took how long, by name.
    """

    result: GridResult
    verdict: Verdict
    figures: tuple[RiskFigure, ...]
    left: tuple[int, ...]
    seconds: dict[str, float]

    @property
    def agrees(self) -> bool:
        """Whether everything is as it should be."""
        tally, blow = self.result.tally, self.result.blow
        return self.verdict.agrees and not (tally.lost or tally.repeated or blow.survivors or self.left)


def run_demo(plan: DemoPlan, *, console: Console) -> DemoOutcome:
    """Run the job and check it; nothing of the stack runs any more afterwards, whatever happens.

    Raises:
        SluicewayError: The stack did not start, or the grid did not give all outputs.
        PricesMissingError: The price history is not installed.
    """
    began = time.monotonic()
    history, job = _prepare(plan)
    console.print(book_table(job, history=history))
    tree = ProcessTree()
    grid = GridRun(stack_plan(plan.directory, amqp_url=plan.amqp_url), job=job, days_per_task=plan.days_per_task, console=console, tree=tree)
    try:
        result = grid.run()
    finally:
        left = tree.end()
        console.print(f"stack: stopped; of the {len(tree)} processes that it had, {len(left)} had to be ended", highlight=False)
    losses = result.tally.ledger.losses()
    at = time.monotonic()
    with console.status("computing the same without any grid"):
        verdict = judge(losses, plain_losses(job))
    seconds = {**result.seconds, "plain": time.monotonic() - at}
    figures = risk_figures(losses)
    _show(losses, figures, history=history, job=job, console=console)
    plan.plot.parent.mkdir(parents=True, exist_ok=True)
    write_histogram(plan.plot, losses=losses, figures=figures, title=_title(history, job))
    console.print(check_table(verdict, lost=result.tally.ledger.lost, repeated=result.tally.ledger.repeated))
    return DemoOutcome(result=result, verdict=verdict, figures=figures, left=tuple(left), seconds={**seconds, "all": time.monotonic() - began})


def _prepare(plan: DemoPlan) -> tuple[PriceHistory, Job]:
    """Build the job; the book and its volatilities come from the whole history also when only its end is replayed."""
    history = load_prices()
    job = build_job(history, steps=plan.steps)
    if plan.days is None:
        return history, job
    closes = history.closes[-plan.days :]
    return replace(history, dates=history.dates[-plan.days :], closes=closes), replace(job, closes=closes)


def _show(losses: NDArray[np.float64], figures: tuple[RiskFigure, ...], *, history: PriceHistory, job: Job, console: Console) -> None:
    console.print(distribution_table(losses))
    console.print(worst_table(losses, history=history, horizon=job.horizon))
    console.print(figures_table(figures))


def _title(history: PriceHistory, job: Job) -> str:
    first, last = history.dates[0].year, history.dates[-1].year
    return f"One-day loss of {len(job.book.options)} options in {len(history.dates) - job.horizon:,} scenarios, {first} to {last}"
