"""Tables and picture show the figures they are given."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from examples.value_at_risk.check import judge
from examples.value_at_risk.plot import write_histogram
from examples.value_at_risk.report import book_table, check_table, distribution_table, figures_table, worst_table
from examples.value_at_risk.risk import risk_figures

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from examples.value_at_risk.job import Job
    from examples.value_at_risk.prices import PriceHistory


def _text(table: Table) -> str:
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(table)
    return console.export_text()


def test_tables_show_their_figures(history: PriceHistory, small_job: Job) -> None:
    """Each table carries its figures with separators and cents."""
    losses = np.linspace(-1e6, 2e6, 8312)
    risk = _text(figures_table(risk_figures(losses)))

    assert "99.9 %" in risk
    assert "1,997,112.26" in risk
    assert "2,000,000.00" in _text(distribution_table(losses))
    assert "2022-12-28" in _text(worst_table(losses, history=history, horizon=1))
    assert "660 on 20 shares" in _text(book_table(small_job, history=history))
    check = _text(check_table(judge(losses, losses), lost=0, repeated=3))
    assert [word for word in ("8,312", "yes", "3") if word not in check] == []


def test_picture_is_a_png(tmp_path: Path) -> None:
    """The picture is written as a PNG of 1,320 by 744 pixels without any display."""
    losses = np.linspace(-1e6, 2e6, 1000) ** 3 / 1e12
    path = tmp_path / "losses.png"
    write_histogram(path, losses=losses, figures=risk_figures(losses), title="Losses")
    data = path.read_bytes()

    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (1320, 744)
