"""The picture of the demo: a histogram of the losses with value at risk and expected shortfall marked, as a PNG file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from examples.value_at_risk.risk import percent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from examples.value_at_risk.risk import RiskFigure

__all__ = ["write_histogram"]

_BINS: Final = 120
_COLOURS: Final = ("#b87a10", "#c8501a", "#8c1426")
"""From the mildest confidence level to the sternest; they differ in brightness too, for readers who do not see red and green apart."""


def write_histogram(path: Path, *, losses: NDArray[np.float64], figures: Sequence[RiskFigure], title: str) -> None:
    """Draw the distribution of losses and write it to a file.

    The count's axis is logarithmic, because the figures live where there are a handful of days against thousands in the middle.

    Args:
        path: The PNG file to write.
        losses: Losses in US dollars, one per scenario.
        figures: What to mark, mildest level first.
        title: One line above the picture.
    """
    figure = Figure(figsize=(11.0, 6.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_bars(axes, losses, threshold=float(figures[0].value_at_risk))
    for risk, colour in zip(figures, _COLOURS, strict=False):
        level = percent(risk.level)
        _mark(axes, name=f"VaR {level}", amount=risk.value_at_risk, colour=colour, dashes="solid")
        _mark(axes, name=f"ES {level}", amount=risk.expected_shortfall, colour=colour, dashes="dashed")
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold")
    axes.set_xlabel("Loss in one scenario, thousands of US dollars (gains left of zero; VaR solid, expected shortfall dashed)")
    axes.set_ylabel("Scenarios (logarithmic)")
    figure.savefig(path, format="png")


def _draw_bars(axes: Axes, losses: NDArray[np.float64], *, threshold: float) -> None:
    counts, edges = np.histogram(losses, bins=_BINS)
    middles = 0.5 * (edges[:-1] + edges[1:])
    colours = np.where(middles > threshold, "#8a93a6", "#b9c4d6")
    axes.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=colours.tolist(), edgecolor="white", linewidth=0.4)
    axes.set_yscale("log")
    axes.set_ylim(0.7, float(counts.max()) * 8.0)
    axes.axvline(0.0, color="#404040", linewidth=0.8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _place: f"{amount / 1000.0:,.0f}"))
    axes.grid(axis="y", color="#e4e7ec", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _mark(axes: Axes, *, name: str, amount: Decimal, colour: str, dashes: str) -> None:
    """Draw one upright line with its name and amount written along it, so that no legend has to be matched with colours."""
    axes.axvline(float(amount), color=colour, linewidth=1.7, linestyle=dashes)
    axes.annotate(
        f"{name}: {amount:,.0f}",
        xy=(float(amount), 0.985),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        fontweight="bold",
        rotation=90,
        va="top",
    )
