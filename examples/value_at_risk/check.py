"""Gathers the grid's outputs, counts what is lost and repeated, and holds the losses against the plain computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from examples.value_at_risk.risk import risk_figures
from examples.value_at_risk.wire import Losses

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TOLERANCE", "LossLedger", "Verdict", "compare", "judge"]

TOLERANCE: Final = 1e-9
"""Largest relative difference allowed. On one kind of processor the losses are equal bit for bit; another one's exp and log may differ in the last bit."""


class LossLedger:
    """Puts outputs that come in any order into their places and remembers which places were filled more than once.

    Args:
        scenarios: How many losses are awaited.
    """

    def __init__(self, *, scenarios: int) -> None:
        self._values = np.full(scenarios, np.nan)
        self._seen = np.zeros(scenarios, dtype=np.int64)

    def enter(self, output: Losses) -> None:
        """Take the output of one task.

        Raises:
            ValueError: It names scenarios that do not exist, or a loss is not a finite number.
        """
        end = output.first + len(output.values)
        if not 0 <= output.first < end <= len(self._values):
            raise ValueError(f"scenarios {output.first} to {end - 1} are not among 0 to {len(self._values) - 1}")
        if not np.isfinite(output.values).all():
            raise ValueError(f"a loss among scenarios {output.first} to {end - 1} is not a finite number")
        self._values[output.first : end] = output.values
        self._seen[output.first : end] += 1

    @property
    def lost(self) -> int:
        """Scenarios that no output has told of."""
        return int((self._seen == 0).sum())

    @property
    def repeated(self) -> int:
        """Losses that came although their scenario was told of already."""
        return int(np.maximum(self._seen - 1, 0).sum())

    def losses(self) -> NDArray[np.float64]:
        """Return the losses in the order of the days, float64, shape (scenarios,).

        Raises:
            ValueError: Some are still missing.
        """
        if self.lost:
            raise ValueError(f"{self.lost} of {len(self._values)} losses are missing")
        return self._values.copy()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How the grid's losses compare with the plain ones.

    Args:
        scenarios: Losses compared.
        identical: Losses that are equal bit for bit.
        difference: The largest relative difference.
        figures_agree: VaR and expected shortfall are equal to the cent at every level.
    """

    scenarios: int
    identical: int
    difference: float
    figures_agree: bool

    @property
    def agrees(self) -> bool:
        """Whether the grid has computed what it should."""
        return self.difference <= TOLERANCE and self.figures_agree


def compare(grid_losses: NDArray[np.float64], plain_losses: NDArray[np.float64]) -> float:
    """Return the largest difference relative to the plain loss; infinite where a number is missing or zero stands against another.

    Raises:
        ValueError: The two have different lengths.
    """
    if grid_losses.shape != plain_losses.shape:
        raise ValueError(f"{grid_losses.size} losses cannot be compared with {plain_losses.size}")
    differing = grid_losses != plain_losses
    grid, plain = grid_losses[differing], plain_losses[differing]
    if not (np.isfinite(grid) & np.isfinite(plain) & (plain != 0.0)).all():
        return float("inf")
    return float(np.max(np.abs(grid - plain) / np.abs(plain), initial=0.0))


def judge(grid_losses: NDArray[np.float64], plain_losses: NDArray[np.float64]) -> Verdict:
    """Compare every loss, and the figures to the cent.

    Raises:
        ValueError: The two have different lengths, or a loss is not a finite number.
    """
    return Verdict(
        scenarios=len(plain_losses),
        identical=int((grid_losses == plain_losses).sum()),
        difference=compare(grid_losses, plain_losses),
        figures_agree=risk_figures(grid_losses) == risk_figures(plain_losses),
    )
