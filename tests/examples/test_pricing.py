"""Option prices agree with the error function of the C library, with textbooks and with put-call parity."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from examples.value_at_risk.normal import erfc, normal_cdf
from examples.value_at_risk.pricing import Terms, european, lattice


def _terms(strike: float, years: float, volatility: float, rate: float) -> Terms:
    return Terms(strike=np.array([strike]), years=np.array([years]), volatility=np.array([volatility]), rate=rate)


def _european(spot: float, terms: Terms, sign: float) -> float:
    return float(european(spots=np.array([[spot]]), terms=terms, signs=np.array([sign]))[0, 0])


def _american_put(spot: float, terms: Terms, steps: int) -> float:
    return float(lattice(terms=terms, steps=steps).american_puts(np.array([[spot]]))[0, 0])


def test_erfc_equals_the_c_library() -> None:
    """Our erfc is within 1e-14 of math.erfc everywhere, and within 1e-13 of its value in the tail up to 1e-17."""
    points: NDArray[np.float64] = np.concatenate((np.linspace(-30.0, 30.0, 60_001), np.geomspace(1e-300, 1.0, 500), [0.0]))
    expected = np.array([math.erfc(point) for point in points])
    actual = erfc(points)

    assert np.max(np.abs(actual - expected)) <= 1e-14
    tail = (points > -6.0) & (points < 6.0)
    assert np.max(np.abs(actual[tail] / expected[tail] - 1.0)) <= 1e-13


def test_normal_cdf_has_its_known_values() -> None:
    """The distribution is one half at zero, symmetric, and 97.5 % at the quantile of every statistics table."""
    low, middle, high = normal_cdf(np.array([-1.959963984540054, 0.0, 1.959963984540054]))

    assert (float(low), float(middle), float(high)) == pytest.approx((0.025, 0.5, 0.975), abs=1e-15)


def test_european_prices_of_a_textbook() -> None:
    """Hull, "Options, Futures, and Other Derivatives", example of the Black-Scholes chapter: 4.76 for the call and 0.81 for the put."""
    terms = _terms(40.0, 0.5, 0.2, 0.1)

    assert round(_european(42.0, terms, 1.0), 2) == 4.76
    assert round(_european(42.0, terms, -1.0), 2) == 0.81


def test_european_price_of_a_second_textbook() -> None:
    """Haug, "The Complete Guide to Option Pricing Formulas", Black-Scholes: a call on 60 struck at 65 costs 2.1334."""
    assert round(_european(60.0, _terms(65.0, 0.25, 0.3, 0.08), 1.0), 4) == 2.1334


def test_put_call_parity() -> None:
    """A call less its put is worth the share less the discounted strike, for every mix of terms."""
    random = np.random.default_rng(7)
    size = 2000
    spots = random.uniform(20.0, 300.0, (1, size))
    terms = Terms(strike=random.uniform(20.0, 300.0, size), years=random.uniform(0.02, 3.0, size), volatility=random.uniform(0.05, 0.9, size), rate=0.03)
    calls = european(spots=spots, terms=terms, signs=np.ones(size))
    puts = european(spots=spots, terms=terms, signs=-np.ones(size))

    assert np.allclose(calls - puts, spots - terms.strike * np.exp(-0.03 * terms.years), rtol=0.0, atol=1e-11)


@pytest.mark.parametrize(("steps", "expected", "digits"), [(5, 4.49, 2), (30, 4.263, 3), (50, 4.272, 3), (100, 4.278, 3), (500, 4.283, 3)])
def test_american_put_of_a_textbook(steps: int, expected: float, digits: int) -> None:
    """Hull's five-month American put on 50 struck at 50 has his value for each number of steps."""
    assert round(_american_put(50.0, _terms(50.0, 5 / 12, 0.4, 0.1), steps), digits) == expected


def test_american_put_is_worth_at_least_the_european_and_its_exercise() -> None:
    """The right to exercise early is never worth less than nothing, and deep in the money it is used at once."""
    terms = _terms(100.0, 1.0, 0.25, 0.05)

    assert _american_put(100.0, terms, 400) > _european(100.0, terms, -1.0)
    assert _american_put(40.0, terms, 400) == 60.0


def test_american_put_equals_a_lattice_written_out() -> None:
    """The vectorised lattice gives what the method of Cox, Ross and Rubinstein gives, written out node by node."""
    spot, strike, years, volatility, rate, steps = 93.0, 100.0, 0.75, 0.31, 0.0425, 40
    rise = math.exp(volatility * math.sqrt(years / steps))
    growth = math.exp(rate * years / steps)
    probability = (growth - 1 / rise) / (rise - 1 / rise)
    values = [max(strike - spot * rise ** (2 * node - steps), 0.0) for node in range(steps + 1)]
    for level in range(steps - 1, -1, -1):
        held = [(probability * values[node + 1] + (1 - probability) * values[node]) / growth for node in range(level + 1)]
        values = [max(value, strike - spot * rise ** (2 * node - level)) for node, value in enumerate(held)]

    assert _american_put(spot, _terms(strike, years, volatility, rate), steps) == pytest.approx(values[0], rel=1e-12)


def test_lattice_refuses_what_it_cannot_price() -> None:
    """Too few steps for the rate, or none, are refused instead of giving a price from negative probabilities."""
    with pytest.raises(ValueError, match="too few"):
        lattice(terms=_terms(100.0, 2.0, 0.01, 0.1), steps=2)
    with pytest.raises(ValueError, match="at least 1 step"):
        lattice(terms=_terms(100.0, 2.0, 0.2, 0.1), steps=0)
