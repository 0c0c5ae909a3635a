"""The daily price history that skfolio ships for tests and examples, read without importing skfolio."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PriceHistory", "PricesMissingError", "load_prices", "parse_prices"]

_DISTRIBUTION = "skfolio"
_DATA_FILE = "skfolio/datasets/data/sp500_dataset.csv.gz"


class PricesMissingError(FileNotFoundError):
    """The price file is not installed: pip install 'sluiceway-server[demo]' brings it."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PriceHistory:
    """Adjusted closing prices of several shares.

    Args:
        tickers: The shares, in the order of the columns.
        dates: The trading days, oldest first, one per row.
        closes: Prices in US dollars, float64, shape (days, shares).
    """

    tickers: tuple[str, ...]
    dates: tuple[date, ...]
    closes: NDArray[np.float64]


def load_prices() -> PriceHistory:
    """Read the history from the installed wheel of skfolio: 20 shares of the S&P 500, 8,313 trading days, 1990 to 2022.

    The file is found through the wheel's metadata, because importing skfolio would need its scientific dependencies, which stay out.

    Raises:
        PricesMissingError: skfolio is not installed, or this release of it carries no such file.
    """
    try:
        path = Path(str(metadata.distribution(_DISTRIBUTION).locate_file(_DATA_FILE)))
        text = gzip.decompress(path.read_bytes()).decode("ascii")
    except (metadata.PackageNotFoundError, FileNotFoundError) as exc:
        raise PricesMissingError from exc
    return parse_prices(text)


def parse_prices(text: str) -> PriceHistory:
    """Read a history from CSV text: a header ``Date,TICKER,...``, then one line per trading day with an ISO date.

    Raises:
        ValueError: A line has another number of columns, a price is not a positive number, or the days are not in order.
    """
    header, *rows = csv.reader(text.splitlines())
    tickers = tuple(header[1:])
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"every line of the price history needs {len(header)} columns")
    dates = tuple(date.fromisoformat(row[0]) for row in rows)
    if any(later <= earlier for earlier, later in pairwise(dates)):
        raise ValueError("the days of the price history must rise from line to line")
    closes = np.array([[float(cell) for cell in row[1:]] for row in rows], dtype=np.float64)
    if not (np.isfinite(closes) & (closes > 0.0)).all():
        raise ValueError("every price of the history must be a positive number")
    return PriceHistory(tickers=tickers, dates=dates, closes=closes)
