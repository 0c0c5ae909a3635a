"""The shipped price history is what the documentation says it is."""

from __future__ import annotations

import sys
from datetime import date
from importlib import metadata
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest

from examples.value_at_risk.prices import PricesMissingError, load_prices, parse_prices

if TYPE_CHECKING:
    from examples.value_at_risk.prices import PriceHistory


def test_history_has_the_documented_size(history: PriceHistory) -> None:
    """The history has 20 shares on 8,313 trading days from 1990 to 2022, all prices positive float64."""
    assert history.closes.shape == (8313, 20)
    assert history.closes.dtype == np.float64
    assert (len(history.tickers), history.tickers[0], history.tickers[-1]) == (20, "AAPL", "XOM")
    assert (history.dates[0], history.dates[-1]) == (date(1990, 1, 2), date(2022, 12, 28))
    assert (history.closes > 0.0).all()


def test_known_prices_are_in_their_places(history: PriceHistory) -> None:
    """The first and the last price are those of the file's first and last line."""
    assert history.closes[0, 0] == 0.264
    assert history.closes[-1, -1] == 106.627


def test_skfolio_itself_is_not_imported(history: PriceHistory) -> None:
    """Reading the file leaves skfolio unimported, since its dependencies are not installed."""
    assert history.closes.size
    assert "skfolio" not in sys.modules


def test_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without skfolio the error says what to install."""

    def absent(name: str) -> NoReturn:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(PricesMissingError, match=r"pip install 'sluiceway-server\[demo\]'"):
        load_prices()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Date,A,B\n2020-01-02,1.0", "3 columns"),
        ("Date,A\n2020-01-03,1.0\n2020-01-02,1.0", "rise"),
        ("Date,A\n2020-01-02,0.0", "positive"),
        ("Date,A\n2020-01-02,nan", "positive"),
        ("Date,A\nyesterday,1.0", "isoformat"),
    ],
)
def test_damaged_history_is_refused(text: str, complaint: str) -> None:
    """A damaged file is refused with the reason instead of giving wrong figures."""
    with pytest.raises(ValueError, match=complaint):
        parse_prices(text)
