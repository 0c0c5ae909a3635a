"""Value at risk and expected shortfall of a distribution of losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LEVELS", "RiskFigure", "cents", "expected_shortfall", "percent", "risk_figures", "value_at_risk"]

LEVELS: Final = (Decimal("0.95"), Decimal("0.99"), Decimal("0.999"))
"""The confidence levels reported; decimals, because 0.999 as a float would round the rank of a scenario the wrong way now and then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskFigure:
    """The figures of one confidence level, in US dollars to the cent.

    Args:
        level: The confidence level, 0.99 for 99 %.
        value_at_risk: The loss that is not exceeded with that confidence.
        expected_shortfall: The mean loss in the worst 1 - level of cases.
    """

    level: Decimal
    value_at_risk: Decimal
    expected_shortfall: Decimal


def value_at_risk(losses: NDArray[np.float64], level: Decimal) -> float:
    """Return the smallest of the losses that at least the share ``level`` of all losses does not exceed.

    That is the generalised inverse of the empirical distribution, with no interpolation: the loss of rank ceil(level x n), counted from
    the smallest (A. J. McNeil, R. Frey and P. Embrechts, "Quantitative Risk Management", definition of VaR as a quantile).

    Raises:
        ValueError: There are no losses, one is not a finite number, or the level is not between 0 and 1.
    """
    ranked = _rank(losses, level)
    return float(ranked[math.ceil(Fraction(level) * len(ranked)) - 1])


def expected_shortfall(losses: NDArray[np.float64], level: Decimal) -> float:
    """Return the mean of the worst part 1 - ``level`` of the losses, the loss at the boundary counted with the fraction that belongs in.

    That is the mean of VaR over all levels above ``level``, exact for the empirical distribution (C. Acerbi and D. Tasche, "On the coherence
    of expected shortfall", Journal of Banking & Finance 26 (2002), 1487-1503).

    Raises:
        ValueError: There are no losses, one is not a finite number, or the level is not between 0 and 1.
    """
    ranked = _rank(losses, level)
    tail = (1 - Fraction(level)) * len(ranked)
    whole = math.floor(tail)
    worst = math.fsum(ranked[len(ranked) - whole :])
    boundary = float(tail - whole) * float(ranked[len(ranked) - whole - 1])
    return (worst + boundary) / float(tail)


def risk_figures(losses: NDArray[np.float64], *, levels: Sequence[Decimal] = LEVELS) -> tuple[RiskFigure, ...]:
    """Return VaR and expected shortfall at each level, to the cent.

    Raises:
        ValueError: As `value_at_risk`.
    """
    return tuple(
        RiskFigure(
            level=level,
            value_at_risk=cents(value_at_risk(losses, level)),
            expected_shortfall=cents(expected_shortfall(losses, level)),
        )
        for level in levels
    )


def cents(dollars: float) -> Decimal:
    """Round an amount to the cent, halves to even."""
    return Decimal(dollars).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def percent(level: Decimal) -> str:
    """Return a level as people write it: ``99.9 %``."""
    return f"{(level * 100).normalize():f} %"


def _rank(losses: NDArray[np.float64], level: Decimal) -> NDArray[np.float64]:
    if not losses.size:
        raise ValueError("a distribution needs at least one loss")
    if not np.isfinite(losses).all():
        raise ValueError("every loss must be a finite number")
    if not 0 < level < 1:
        raise ValueError(f"the level is {level} and must be between 0 and 1")
    return np.sort(losses)
