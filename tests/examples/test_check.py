"""The check sees what is lost, repeated or different."""

from __future__ import annotations

import numpy as np
import pytest

from examples.value_at_risk.check import LossLedger, compare, judge
from examples.value_at_risk.wire import Losses


def test_ledger_counts_lost_and_repeated() -> None:
    """Losses that never came and losses that came again are counted apart, and gaps are never passed on."""
    ledger = LossLedger(scenarios=6)
    ledger.enter(Losses(first=4, values=np.array([5.0, 6.0])))
    ledger.enter(Losses(first=0, values=np.array([1.0, 2.0, 3.0])))
    ledger.enter(Losses(first=4, values=np.array([5.0, 6.0])))

    assert (ledger.lost, ledger.repeated) == (1, 2)
    with pytest.raises(ValueError, match="1 of 6 losses are missing"):
        ledger.losses()
    ledger.enter(Losses(first=3, values=np.array([4.0])))
    assert ledger.losses().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize(("first", "values"), [(5, [1.0, 2.0]), (-1, [1.0]), (0, []), (0, [float("nan")])])
def test_ledger_refuses_what_cannot_be(first: int, values: list[float]) -> None:
    """Outputs of scenarios that do not exist, of none, or with losses that are no numbers are refused and count as lost."""
    ledger = LossLedger(scenarios=6)
    with pytest.raises(ValueError, match="not"):
        ledger.enter(Losses(first=first, values=np.array(values)))
    assert ledger.lost == 6


def test_compare_gives_the_largest_relative_difference() -> None:
    """The difference is relative to the plain loss; missing numbers and something instead of zero are infinitely wrong."""
    plain = np.array([100.0, -50.0, 0.0])

    assert compare(plain.copy(), plain) == 0.0
    assert compare(np.array([100.0, -50.5, 0.0]), plain) == pytest.approx(0.01)
    assert compare(np.array([100.0, np.nan, 0.0]), plain) == float("inf")
    assert compare(np.array([100.0, -50.0, 1e-12]), plain) == float("inf")
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(plain[:2], plain)


def test_verdict_needs_both_losses_and_figures() -> None:
    """Losses within the tolerance whose figures differ by a cent do not agree; neither do losses beyond it."""
    plain = np.arange(1.0, 101.0) * 1e6 + 0.0049
    another_cent = plain + 0.0002

    assert (judge(plain.copy(), plain).agrees, judge(plain.copy(), plain).identical) == (True, 100)
    assert (compare(another_cent, plain) < 1e-9, judge(another_cent, plain).agrees) == (True, False)
    assert not judge(plain * (1.0 + 1e-8), plain).agrees
