"""Scenarios of historical simulation: what every past day's moves would make of today's prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["day_ranges", "scenario_count", "scenario_spots"]


def scenario_count(*, days: int, horizon: int) -> int:
    """Return how many scenarios a history of that many trading days gives; moves over several days overlap.

    Raises:
        ValueError: The horizon is not at least one day, or the history is too short for it.
    """
    if horizon < 1:
        raise ValueError(f"the horizon is {horizon} days and must be at least 1")
    if days <= horizon:
        raise ValueError(f"a history of {days} days is too short for a horizon of {horizon}")
    return days - horizon


def scenario_spots(closes: NDArray[np.float64], *, first: int, count: int, horizon: int) -> NDArray[np.float64]:
    """Apply past log returns of all shares to the last prices; one scenario moves all shares by the same day's returns.

    ``today * exp(ln(later / earlier))`` is ``today * (later / earlier)``, so neither logarithm nor exponential is taken.

    Args:
        closes: The history, shape (days, shares).
        first: The first scenario; scenario i runs from day i to day i + horizon.
        count: How many scenarios.
        horizon: Trading days that a move spans.

    Returns:
        Prices, shape (count, shares).

    Raises:
        ValueError: The range is empty or not inside the history.
    """
    total = scenario_count(days=len(closes), horizon=horizon)
    if first < 0 or count < 1 or first + count > total:
        raise ValueError(f"scenarios {first} to {first + count - 1} are not among 0 to {total - 1}")
    earlier = closes[first : first + count]
    later = closes[first + horizon : first + horizon + count]
    spots: NDArray[np.float64] = closes[-1] * (later / earlier)
    return spots


def day_ranges(*, total: int, size: int) -> Iterator[tuple[int, int]]:
    """Cut ``total`` scenarios into ranges (first, count) of ``size``; the last one may be shorter.

    Raises:
        ValueError: ``size`` is not at least 1.
    """
    if size < 1:
        raise ValueError(f"a range needs at least 1 scenario, not {size}")
    return ((first, min(size, total - first)) for first in range(0, total, size))
