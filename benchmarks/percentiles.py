"""Percentiles of measured times."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["percentile"]


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` percent of ``ordered`` (ascending, not empty) do not exceed."""
    return ordered[max(math.ceil(len(ordered) * share / 100), 1) - 1]
