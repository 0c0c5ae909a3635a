"""Value at risk and expected shortfall agree with figures worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from examples.value_at_risk.risk import LEVELS, RiskFigure, cents, expected_shortfall, percent, risk_figures, value_at_risk

TEN = np.array([30.0, -10.0, 0.0, 50.0, 20.0, -40.0, 10.0, -20.0, 100.0, -30.0])
"""Ranked: -40 -30 -20 -10 0 10 20 30 50 100."""


@pytest.mark.parametrize(("level", "loss"), [("0.5", 0.0), ("0.80", 30.0), ("0.85", 50.0), ("0.90", 50.0), ("0.91", 100.0)])
def test_value_at_risk_by_hand(level: str, loss: float) -> None:
    """VaR is the loss of rank ceil(level x 10) among ten losses."""
    assert value_at_risk(TEN, Decimal(level)) == loss


@pytest.mark.parametrize(("level", "loss"), [("0.8", (50 + 100) / 2), ("0.9", 100.0), ("0.85", (100 + 0.5 * 50) / 1.5), ("0.95", 100.0)])
def test_expected_shortfall_by_hand(level: str, loss: float) -> None:
    """Expected shortfall is the mean of the worst part; the loss on its boundary counts with the fraction that belongs in."""
    assert expected_shortfall(TEN, Decimal(level)) == pytest.approx(loss, rel=1e-15)


def test_ranks_are_exact_where_floats_are_not() -> None:
    """At 99.9 % of 1,000 losses the rank is 999 exactly, and one worse loss makes the tail."""
    losses = np.arange(1.0, 1001.0)

    assert value_at_risk(losses, Decimal("0.999")) == 999.0
    assert expected_shortfall(losses, Decimal("0.999")) == 1000.0


def test_figures_come_to_the_cent() -> None:
    """A figure names its level and rounds both amounts to the cent."""
    assert risk_figures(TEN / 3.0, levels=[Decimal("0.8")]) == (
        RiskFigure(level=Decimal("0.8"), value_at_risk=Decimal("10.00"), expected_shortfall=Decimal("25.00")),
    )
    assert cents(2 / 3) == Decimal("0.67")
    assert [percent(level) for level in LEVELS] == ["95 %", "99 %", "99.9 %"]


@pytest.mark.parametrize(
    ("losses", "level", "complaint"), [([], "0.9", "at least one"), ([1.0, np.nan], "0.9", "finite"), ([1.0], "1", "between"), ([1.0], "0", "between")]
)
def test_no_figure_from_bad_losses(losses: list[float], level: str, complaint: str) -> None:
    """Nothing, not-a-numbers and impossible levels are refused."""
    with pytest.raises(ValueError, match=complaint):
        value_at_risk(np.array(losses), Decimal(level))
