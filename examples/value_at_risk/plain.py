"""The same losses computed on this machine alone, with plain numpy and no grid: the measure that the grid's outputs are held against."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from examples.value_at_risk.scenarios import day_ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from examples.value_at_risk.job import Job

__all__ = ["plain_losses"]

_PART: Final = 100
"""Scenarios per turn of a thread; unlike any range the grid is given, so that a result that depended on its range would show."""


def plain_losses(job: Job, *, threads: int | None = None) -> NDArray[np.float64]:
    """Return the loss in every scenario, in US dollars, in the order of the days.

    Args:
        job: The job, straight from `build_job`: nothing here is encoded or decoded.
        threads: How many threads share the work, one per processor if not said; numpy releases the interpreter while it computes.

    Raises:
        ValueError: The job's parts do not fit each other.
    """
    revaluation = job.revaluation()
    ranges = list(day_ranges(total=revaluation.scenarios, size=_PART))
    with ThreadPoolExecutor(max_workers=threads or os.cpu_count()) as pool:
        parts = pool.map(lambda piece: revaluation.losses(first=piece[0], count=piece[1]), ranges)
        return np.concatenate(list(parts))
