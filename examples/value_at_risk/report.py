"""What the demo prints: the book, the distribution of its losses, the risk figures and the check, as text tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from rich.table import Table

from examples.value_at_risk.risk import cents, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from examples.value_at_risk.check import Verdict
    from examples.value_at_risk.job import Job
    from examples.value_at_risk.prices import PriceHistory
    from examples.value_at_risk.risk import RiskFigure

__all__ = ["book_table", "check_table", "distribution_table", "figures_table", "worst_table"]

_PERCENTILES: Final = (0, 1, 5, 25, 50, 75, 95, 99, 100)


def book_table(job: Job, *, history: PriceHistory) -> Table:
    """Show what is computed: positions, what they are worth, days and settings."""
    options = job.book.options
    revaluation = job.revaluation()
    days = history.dates
    table = _table("The book", "", "")
    table.add_row("Options", f"{len(options)} on {len(history.tickers)} shares")
    table.add_row("  European calls, puts", f"{_count(job, 'european call')}, {_count(job, 'european put')}")
    table.add_row("  American puts", f"{_count(job, 'american put')}, lattices of {job.steps} steps")
    table.add_row("  bought, sold", f"{sum(option.quantity > 0 for option in options)}, {sum(option.quantity < 0 for option in options)}")
    table.add_row("Shares against the delta", _dollars(sum(held * price for held, price in zip(job.book.holdings, history.closes[-1], strict=True))))
    table.add_row("Worth today", _dollars(revaluation.worth))
    table.add_row("Prices", f"{days[0].isoformat()} to {days[-1].isoformat()}, {len(days):,} trading days")
    table.add_row("Scenarios", f"{revaluation.scenarios:,} moves over {job.horizon} day{'s' if job.horizon > 1 else ''}")
    return table


def distribution_table(losses: NDArray[np.float64]) -> Table:
    """Show the mean, the standard deviation and percentiles of the losses (observed values, none interpolated)."""
    table = _table("Distribution of losses", "gain below 0", "US dollars")
    table.add_row("mean", _dollars(float(losses.mean())))
    table.add_row("standard deviation", _dollars(float(losses.std(ddof=1))))
    for rank in _PERCENTILES:
        name = {0: "best day", 50: "median", 100: "worst day"}.get(rank, f"{rank} %")
        table.add_row(name, _dollars(float(np.percentile(losses, rank, method="inverted_cdf"))))
    return table


def figures_table(figures: Sequence[RiskFigure]) -> Table:
    """Show value at risk and expected shortfall, one line per confidence level."""
    table = _table("Risk over one holding period", "confidence", "value at risk", "expected shortfall")
    for figure in figures:
        table.add_row(percent(figure.level), f"{figure.value_at_risk:,}", f"{figure.expected_shortfall:,}")
    return table


def worst_table(losses: NDArray[np.float64], *, history: PriceHistory, horizon: int, count: int = 5) -> Table:
    """Show the days of history that would hurt most, by the day on which the move ended."""
    table = _table("Worst days", "move up to", "loss")
    for scenario in np.argsort(losses)[::-1][:count]:
        table.add_row(history.dates[scenario + horizon].isoformat(), _dollars(float(losses[scenario])))
    return table


def check_table(verdict: Verdict, *, lost: int, repeated: int) -> Table:
    """Show what was lost and repeated on the way, and how the grid's losses compare with the plain ones."""
    table = _table("Check against plain numpy", "", "")
    table.add_row("Scenarios compared", f"{verdict.scenarios:,}")
    table.add_row("  equal bit for bit", f"{verdict.identical:,}")
    table.add_row("Largest relative difference", f"{verdict.difference:.1e}" if verdict.difference else "0")
    table.add_row("Figures equal to the cent", "yes" if verdict.figures_agree else "NO")
    table.add_row("Losses lost", f"{lost:,}")
    table.add_row("Losses repeated", f"{repeated:,}")
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=any(headings))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left")
    return table


def _count(job: Job, style: str) -> int:
    return sum(option.style == style for option in job.book.options)


def _dollars(amount: float) -> str:
    return f"{cents(amount):,}"
