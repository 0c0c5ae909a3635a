"""The loss of a whole book in any range of scenarios: the arithmetic that the grid's service and the plain check share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from examples.value_at_risk.book import Book, Option
from examples.value_at_risk.pricing import Terms, european, lattice
from examples.value_at_risk.scenarios import day_ranges, scenario_count, scenario_spots

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BookValues", "Revaluation"]

_BLOCK: Final = 4
"""Scenarios priced at once: with 240 lattices of 100 steps more of them fall out of a core's cache, fewer leave numpy too little per call."""


class BookValues:
    """Prices every position of a book at given share prices.

    An element of the result depends on its own row of prices only, bit for bit: no matrix product, whose order of summation would change
    with the number of rows, takes part.

    Args:
        book: The positions.
        shares: How many shares the prices have.
        steps: Time steps of the lattice for American puts.

    Raises:
        ValueError: A position is on an unknown share, or not a finite number, or the lattice cannot price it.
    """

    def __init__(self, *, book: Book, shares: int, steps: int) -> None:
        _check_shares(book, shares=shares)
        europeans = [option for option in book.options if option.style != "american put"]
        americans = [option for option in book.options if option.style == "american put"]
        self.positions: Final = (*europeans, *americans)
        """The options in the order of the columns of `prices`; the shares follow."""
        self.quantities: Final = np.array([*(option.quantity for option in self.positions), *book.holdings], dtype=np.float64)
        _check_finite(self.quantities)
        self._signs = np.array([1.0 if option.style == "european call" else -1.0 for option in europeans], dtype=np.float64)
        self._european_terms = _terms(europeans, rate=book.rate)
        self._european_shares = _columns(europeans)
        self._american_shares = _columns(americans)
        self._lattice = lattice(terms=_terms(americans, rate=book.rate), steps=steps)

    def prices(self, spots: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the price of every position, options first and then shares.

        Args:
            spots: Share prices, shape (scenarios, shares).

        Returns:
            Prices of one unit each, shape (scenarios, positions).
        """
        # take() gives rows in memory one after another, where indexing would give columns and slower, differently rounded sums.
        europeans = european(spots=np.take(spots, self._european_shares, axis=1), terms=self._european_terms, signs=self._signs)
        americans = self._lattice.american_puts(np.take(spots, self._american_shares, axis=1))
        return np.concatenate((europeans, americans, spots), axis=1)


class Revaluation:
    """A book, today's prices and a history, ready to tell the loss in any scenario.

    Args:
        book: The positions.
        closes: The history in US dollars, shape (days, shares); its last row is today.
        horizon: Trading days that a scenario's move spans.
        steps: Time steps of the lattice for American puts.

    Raises:
        ValueError: The parts do not fit each other.
    """

    def __init__(self, *, book: Book, closes: NDArray[np.float64], horizon: int, steps: int) -> None:
        self.scenarios: Final = scenario_count(days=len(closes), horizon=horizon)
        self._closes = closes
        self._horizon = horizon
        self._values = BookValues(book=book, shares=closes.shape[1], steps=steps)
        self._today = self._values.prices(closes[-1:])

    @property
    def worth(self) -> float:
        """What the book is worth today, in US dollars."""
        return float((self._today * self._values.quantities).sum())

    def losses(self, *, first: int, count: int) -> NDArray[np.float64]:
        """Return the loss of the book in each scenario of a range, in US dollars, a gain being negative.

        All prices move at once and no time passes (an instantaneous shock); each option keeps its volatility (sticky strike).
        The result of a scenario is the same, bit for bit, whatever range it is asked in.

        Raises:
            ValueError: The range is empty or not inside the history.
        """
        spots = scenario_spots(self._closes, first=first, count=count, horizon=self._horizon)
        blocks = [self._block(spots[start : start + size]) for start, size in day_ranges(total=count, size=_BLOCK)]
        return np.concatenate(blocks)

    def _block(self, spots: NDArray[np.float64]) -> NDArray[np.float64]:
        falls = self._today - self._values.prices(spots)
        losses: NDArray[np.float64] = (falls * self._values.quantities).sum(axis=1)
        return losses


def _terms(options: list[Option], *, rate: float) -> Terms:
    rows = np.array([(option.strike, option.years, option.volatility) for option in options], dtype=np.float64).reshape(-1, 3)
    _check_finite(rows)
    strike, years, volatility = (np.ascontiguousarray(column) for column in rows.T)
    return Terms(strike=strike, years=years, volatility=volatility, rate=rate)


def _columns(options: list[Option]) -> NDArray[np.intp]:
    return np.array([option.share for option in options], dtype=np.intp)


def _check_shares(book: Book, *, shares: int) -> None:
    if len(book.holdings) != shares:
        raise ValueError(f"the book holds {len(book.holdings)} shares and the history has {shares}")
    if any(option.share >= shares for option in book.options):
        raise ValueError(f"an option is on a share beyond the {shares} of the history")


def _check_finite(numbers: NDArray[np.float64]) -> None:
    if not np.isfinite(numbers).all():
        raise ValueError("every figure of a position must be a finite number")
