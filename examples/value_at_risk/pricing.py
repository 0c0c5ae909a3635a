"""Prices of options on one share without dividends: Black-Scholes for European ones, a binomial lattice for American puts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from examples.value_at_risk.normal import normal_cdf

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Lattice", "Terms", "european", "lattice"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Terms:
    """What several options promise, one element per option, each array of shape (options,).

    Args:
        strike: Exercise prices, in the share's currency.
        years: Time to expiry, in years.
        volatility: Annual volatilities, 0.2 for 20 %.
        rate: The annual rate without risk, continuously compounded, one for all.
    """

    strike: NDArray[np.float64]
    years: NDArray[np.float64]
    volatility: NDArray[np.float64]
    rate: float


def european(*, spots: NDArray[np.float64], terms: Terms, signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Price European calls and puts with the formula of Black and Scholes.

    Source: F. Black and M. Scholes, "The Pricing of Options and Corporate Liabilities", Journal of Political Economy 81 (1973), 637-654.

    Args:
        spots: The share's price for each scenario and option, shape (scenarios, options).
        terms: The options.
        signs: 1.0 for a call, -1.0 for a put, shape (options,).

    Returns:
        Prices, shape (scenarios, options).
    """
    deviation = terms.volatility * np.sqrt(terms.years)
    discounted_strike = terms.strike * np.exp(-terms.rate * terms.years)
    d1 = np.log(spots / discounted_strike) / deviation + 0.5 * deviation
    d2 = d1 - deviation
    return signs * (spots * normal_cdf(signs * d1) - discounted_strike * normal_cdf(signs * d2))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lattice:
    """The part of a binomial lattice that is the same for every price of the share; made by `lattice`.

    Args:
        steps: Time steps from today to expiry.
        strike: Exercise prices, shape (options,).
        moves: The share's price at k net upward moves, relative to today's, k = -steps ... steps, shape (2 steps + 1, 1, options).
        up: The discounted probability of an upward move, shape (options,).
        down: The discounted probability of a downward move, shape (options,).
    """

    steps: int
    strike: NDArray[np.float64]
    moves: NDArray[np.float64]
    up: NDArray[np.float64]
    down: NDArray[np.float64]

    def american_puts(self, spots: NDArray[np.float64]) -> NDArray[np.float64]:
        """Price American puts at each share price by stepping back from expiry, exercising wherever that is worth more.

        Args:
            spots: The share's price for each scenario and option, shape (scenarios, options).

        Returns:
            Prices, shape (scenarios, options).
        """
        steps, shape = self.steps, spots.shape
        exercise = self.strike - spots * self.moves
        values = np.maximum(exercise[::2], 0.0)
        upward = np.empty_like(values)
        up, down = np.broadcast_to(self.up, shape).copy(), np.broadcast_to(self.down, shape).copy()

        # Every pass of the loop works in place: at some hundred million nodes a second the time goes into memory, not into arithmetic.
        for level in range(steps, 0, -1):
            risen, kept = upward[:level], values[:level]
            np.multiply(values[1 : level + 1], up, out=risen)
            np.multiply(kept, down, out=kept)
            np.add(kept, risen, out=kept)
            np.maximum(kept, exercise[steps - level + 1 : steps + level : 2], out=kept)
        today: NDArray[np.float64] = values[0]
        return today


def lattice(*, terms: Terms, steps: int) -> Lattice:
    """Prepare the lattice of Cox, Ross and Rubinstein for several options.

    Source: J. C. Cox, S. A. Ross and M. Rubinstein, "Option Pricing: A Simplified Approach", Journal of Financial Economics 7 (1979), 229-263.

    Args:
        terms: The options.
        steps: Time steps from today to expiry; the error falls with 1 / steps and the work grows with steps squared.

    Raises:
        ValueError: There are fewer than one step, or so few that a probability leaves [0, 1]: the volatility is too low for the rate.
    """
    if steps < 1:
        raise ValueError(f"a lattice needs at least 1 step, not {steps}")
    interval = terms.years / steps
    rise = np.exp(terms.volatility * np.sqrt(interval))
    growth = np.exp(terms.rate * interval)
    probability = (growth - 1.0 / rise) / (rise - 1.0 / rise)
    if not ((probability >= 0.0) & (probability <= 1.0)).all():
        raise ValueError(f"{steps} steps are too few for a volatility this low: a probability leaves [0, 1]")
    exponents = np.arange(-steps, steps + 1, dtype=np.float64)
    moves = np.exp(exponents[:, None, None] * np.log(rise))
    return Lattice(steps=steps, strike=terms.strike, moves=moves, up=probability / growth, down=(1.0 - probability) / growth)
