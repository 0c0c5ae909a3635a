"""A bank-like book of options on the history's shares, built from the prices alone, so that everyone builds the same one."""

from __future__ import annotations

import math
import zlib
from itertools import product
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from examples.value_at_risk.prices import PriceHistory

__all__ = ["Book", "Option", "Style", "build_options", "realised_volatility"]

Style = Literal["european call", "european put", "american put"]
"""American calls need no style of their own: on a share without dividends they are never exercised early and cost what the European ones do."""

_RATE: Final = 0.0425
"""About what three-month Treasury bills paid at the end of 2022, where the history ends."""

_TRADING_DAYS: Final = 252
"""Trading days in a year, by the market's habit."""

_EUROPEAN_GRID: Final = tuple(product((0.80, 0.90, 0.95, 1.00, 1.05, 1.10, 1.20), (1 / 12, 0.5, 1.0)))
_AMERICAN_GRID: Final = tuple(product((0.90, 0.95, 1.00, 1.05), (0.25, 0.75, 1.5)))
"""Strikes relative to today's price, and years to expiry."""

_CONTRACT: Final = 100
"""Shares under one contract of a listed option in the United States."""

Positive = Annotated[float, msgspec.Meta(gt=0.0)]


class Option(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One position in an option.

    Args:
        share: The share's column in the history.
        style: What may be exercised, and when.
        strike: Exercise price in US dollars.
        years: Time to expiry.
        volatility: Annual volatility that the price is computed with.
        quantity: Shares under option; negative when the bank has sold it.
    """

    share: Annotated[int, msgspec.Meta(ge=0)]
    style: Style
    strike: Positive
    years: Positive
    volatility: Positive
    quantity: float


class Book(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """All positions of the bank.

    Args:
        options: The options.
        holdings: Shares held, one number per share of the history; negative when sold short.
        rate: The annual rate without risk, continuously compounded.
    """

    options: tuple[Option, ...]
    holdings: tuple[float, ...]
    rate: float = _RATE


def build_options(history: PriceHistory) -> Book:
    """Build the book before its hedge: per share 21 European options, calls and puts in turn, and 12 American puts, some bought, most sold.

    Strikes surround the last price, volatilities follow from realised ones, and sizes and sides are drawn from a checksum of the
    position's name: the same history always gives the same book.
    """
    options = tuple(
        _option(history, share=share, style=style, moneyness=moneyness, years=years)
        for share in range(len(history.tickers))
        for style, moneyness, years in _shelf()
    )
    return Book(options=options, holdings=(0.0,) * len(history.tickers))


def realised_volatility(closes: NDArray[np.float64]) -> float:
    """Return the annual volatility of one share: the standard deviation of its daily log returns times the root of 252.

    Args:
        closes: Daily prices, oldest first, shape (days,).
    """
    return float(np.std(np.diff(np.log(closes)), ddof=1)) * math.sqrt(_TRADING_DAYS)


def _shelf() -> list[tuple[Style, float, float]]:
    """Return what the bank trades on every share: style, relative strike, years."""
    kinds: tuple[Style, Style] = ("european call", "european put")
    europeans: list[tuple[Style, float, float]] = [(kinds[index % 2], *cell) for index, cell in enumerate(_EUROPEAN_GRID)]
    return europeans + [("american put", *cell) for cell in _AMERICAN_GRID]


def _option(history: PriceHistory, *, share: int, style: Style, moneyness: float, years: float) -> Option:
    spot = float(history.closes[-1, share])
    draw = zlib.crc32(f"{history.tickers[share]} {style} {moneyness:.2f} {years:.3f}".encode()) / 2**32
    # Clients buy options more often than they sell them: the bank is short in 55 % of the positions.
    side = -1.0 if draw < 0.55 else 1.0  # noqa: PLR2004 - the sentence above is its name
    notional = 200_000.0 + 1_800_000.0 * math.fmod(draw * 1000.0, 1.0)
    return Option(
        share=share,
        style=style,
        strike=round(spot * moneyness, 2),
        years=years,
        volatility=_quoted_volatility(history.closes[:, share], moneyness=moneyness, years=years),
        quantity=side * _CONTRACT * max(1, round(notional / (spot * _CONTRACT))),
    )


def _quoted_volatility(closes: NDArray[np.float64], *, moneyness: float, years: float) -> float:
    """Return a volatility as a market maker might quote it, to a hundredth of a percent.

    The variance falls from the last quarter's to the last five years' as the expiry moves out, and low strikes cost more than high ones
    (the skew of shares). The rule is made up for the demo: the history holds no option prices.
    """
    short, long = realised_volatility(closes[-63:]), realised_volatility(closes[-1260:])
    level = math.sqrt(long**2 + (short**2 - long**2) * math.exp(-2.0 * years))
    distance = math.log(moneyness)
    return round(level * (1.0 - 0.35 * distance + 0.5 * distance**2), 4)
