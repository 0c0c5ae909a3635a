"""The whole job as one value: the book, hedged, with the history and the settings of the computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from examples.value_at_risk.book import Book, build_options
from examples.value_at_risk.revaluation import BookValues, Revaluation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from examples.value_at_risk.prices import PriceHistory

__all__ = ["DEFAULT_DAYS_PER_TASK", "DEFAULT_STEPS", "Job", "build_job"]

DEFAULT_STEPS: Final = 100
"""Time steps of the lattice: within about a cent of the limit for a put on a share of 100 dollars, and enough work for a grid."""

DEFAULT_DAYS_PER_TASK: Final = 8
"""Scenarios per task: 1,039 tasks of some 20 ms each on one core of 2026, so that the way through the broker is not the main cost."""

_HEDGE_RATIO: Final = 0.6
"""The share of its delta that the bank hedges: traders keep an opinion."""

_BUMP: Final = 0.01
"""Relative move of the share for a delta by central difference; wide enough to level out the lattice's steps."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Job:
    """What the service on the grid needs to know once per session.

    Args:
        book: The positions.
        closes: The history in US dollars, float64, shape (days, shares); its last row is today.
        horizon: Trading days that a scenario's move spans.
        steps: Time steps of the lattice for American puts.
    """

    book: Book
    closes: NDArray[np.float64]
    horizon: int
    steps: int

    def revaluation(self) -> Revaluation:
        """Prepare the computation.

        Raises:
            ValueError: The job's parts do not fit each other.
        """
        return Revaluation(book=self.book, closes=self.closes, horizon=self.horizon, steps=self.steps)


def build_job(history: PriceHistory, *, horizon: int = 1, steps: int = DEFAULT_STEPS) -> Job:
    """Build the demo's job: the book of `build_options` with shares that take away most of its delta."""
    book = build_options(history)
    hedged = msgspec.structs.replace(book, holdings=_hedge(book, spots=history.closes[-1], steps=steps))
    return Job(book=hedged, closes=history.closes, horizon=horizon, steps=steps)


def _hedge(book: Book, *, spots: NDArray[np.float64], steps: int) -> tuple[float, ...]:
    """Return the whole number of shares to hold of each, against the options' delta."""
    values = BookValues(book=book, shares=len(spots), steps=steps)
    # An option hangs on its own share only, so moving all shares at once gives every delta in two valuations.
    low, high = values.prices(np.vstack((spots * (1.0 - _BUMP), spots * (1.0 + _BUMP))))
    changes = (high - low) * values.quantities
    deltas = np.zeros(len(spots))
    for option, change in zip(values.positions, changes, strict=False):
        deltas[option.share] += change / (2.0 * _BUMP * spots[option.share])
    return tuple(float(-round(_HEDGE_RATIO * delta)) for delta in deltas)
