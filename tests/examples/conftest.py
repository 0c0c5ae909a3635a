"""The price history and a small job, read and built once for all tests of the examples."""

from __future__ import annotations

import pytest

from examples.value_at_risk.job import Job, build_job
from examples.value_at_risk.prices import PriceHistory, load_prices


@pytest.fixture(scope="session")
def history() -> PriceHistory:
    """Give the whole history as shipped."""
    return load_prices()


@pytest.fixture(scope="session")
def small_job(history: PriceHistory) -> Job:
    """Give the demo's book over its last 61 days, with coarse lattices: 60 scenarios in a fraction of a second."""
    job = build_job(history, steps=20)
    return Job(book=job.book, closes=history.closes[-61:], horizon=1, steps=20)
