"""The book is the same for everyone, and a scenario's loss does not depend on how the scenarios are cut into ranges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from examples.value_at_risk.book import Option, build_options, realised_volatility
from examples.value_at_risk.job import Job, build_job
from examples.value_at_risk.plain import plain_losses
from examples.value_at_risk.revaluation import BookValues
from examples.value_at_risk.scenarios import day_ranges, scenario_count, scenario_spots

if TYPE_CHECKING:
    from examples.value_at_risk.prices import PriceHistory


def test_book_is_bank_like_and_always_the_same(history: PriceHistory) -> None:
    """Two builds give one book: 420 European options and 240 American puts on 20 shares, bought and sold, with believable volatilities."""
    book = build_options(history)

    assert book == build_options(history)
    assert sum(option.style == "american put" for option in book.options) == 240
    assert sum(option.style != "american put" for option in book.options) == 420
    assert {option.share for option in book.options} == set(range(20))
    assert {math.copysign(1.0, option.quantity) for option in book.options} == {-1.0, 1.0}
    assert all(0.1 < option.volatility < 1.5 for option in book.options)


def test_hedge_takes_most_of_the_risk_of_small_moves(small_job: Job) -> None:
    """A fall of all shares by half a percent costs the hedged book less than half of what it costs without its shares."""
    values = BookValues(book=small_job.book, shares=20, steps=small_job.steps)
    before, after = values.prices(np.vstack((small_job.closes[-1], 0.995 * small_job.closes[-1])))
    moves = np.abs([((after - before) * values.quantities)[:660].sum(), ((after - before) * values.quantities).sum()])

    assert moves[1] < 0.5 * moves[0]


def test_realised_volatility_by_hand() -> None:
    """Log returns of +-1 % in turn have a daily deviation of 1 % times the root of 4/3 for four returns, and 252 of them make a year."""
    closes = np.exp(np.array([0.0, 0.01, 0.0, 0.01, 0.0]))

    assert realised_volatility(closes) == pytest.approx(0.01 * math.sqrt(4 / 3 * 252), rel=1e-12)


def test_scenarios_apply_past_returns_to_the_last_prices() -> None:
    """With prices 100, 110, 99 today's 99 becomes 99 x 1.1 and 99 x 0.9, and 99 x 0.99 over two days."""
    closes = np.array([[100.0], [110.0], [99.0]])

    assert scenario_spots(closes, first=0, count=2, horizon=1)[:, 0] == pytest.approx([108.9, 89.1])
    assert scenario_spots(closes, first=0, count=1, horizon=2)[:, 0] == pytest.approx([98.01])
    assert scenario_count(days=8313, horizon=1) == 8312


@pytest.mark.parametrize(("first", "count"), [(0, 3), (2, 1), (-1, 1), (0, 0)])
def test_scenarios_outside_the_history_are_refused(first: int, count: int) -> None:
    """A range that is empty or leaves the history is refused, never cut short."""
    with pytest.raises(ValueError, match="are not among 0 to 1"):
        scenario_spots(np.ones((3, 1)), first=first, count=count, horizon=1)


def test_ranges_cover_every_scenario_once() -> None:
    """Ranges of 8 cover 8,312 scenarios in 1,039 tasks, and a remainder gets a shorter one."""
    assert len(list(day_ranges(total=8312, size=8))) == 1039
    assert list(day_ranges(total=5, size=2)) == [(0, 2), (2, 2), (4, 1)]
    with pytest.raises(ValueError, match="at least 1"):
        day_ranges(total=5, size=0)


@pytest.mark.parametrize("size", [1, 3, 8, 60])
def test_losses_do_not_depend_on_the_range(small_job: Job, size: int) -> None:
    """Any cutting into ranges gives the plain losses, bit for bit."""
    revaluation = small_job.revaluation()
    pieces = [revaluation.losses(first=first, count=count) for first, count in day_ranges(total=60, size=size)]

    assert np.concatenate(pieces).tobytes() == plain_losses(small_job, threads=2).tobytes()


def test_loss_of_one_scenario_written_out(small_job: Job) -> None:
    """A scenario's loss is what the positions lose one by one, each valued alone."""
    spots = scenario_spots(small_job.closes, first=17, count=1, horizon=1)[0]
    today = small_job.closes[-1]
    parts = [held * (old - new) for held, old, new in zip(small_job.book.holdings, today, spots, strict=True)]
    for option in small_job.book.options:
        alone = msgspec.structs.replace(small_job.book, options=(option,))
        old, new = BookValues(book=alone, shares=20, steps=small_job.steps).prices(np.vstack((today, spots)))[:, 0]
        parts.append(option.quantity * (old - new))

    assert small_job.revaluation().losses(first=17, count=1)[0] == pytest.approx(math.fsum(parts), rel=1e-9)


def test_a_longer_horizon_gives_fewer_and_wider_scenarios(history: PriceHistory) -> None:
    """Ten-day moves give 51 scenarios of 61 days and a worse worst loss."""
    job = build_job(history, steps=10)
    one, ten = (Job(book=job.book, closes=history.closes[-61:], horizon=horizon, steps=10).revaluation() for horizon in (1, 10))

    assert ten.scenarios == 51
    assert ten.losses(first=0, count=51).max() > one.losses(first=0, count=60).max()


def test_positions_that_fit_no_history_are_refused(small_job: Job) -> None:
    """An option on a share that does not exist, holdings of another number and numbers without end are refused."""
    option = Option(share=20, style="european put", strike=1.0, years=1.0, volatility=0.2, quantity=1.0)
    book = small_job.book
    for bad, complaint in [
        (msgspec.structs.replace(book, options=(option,)), "beyond the 20"),
        (msgspec.structs.replace(book, holdings=(1.0,)), "holds 1 shares"),
        (msgspec.structs.replace(book, options=(msgspec.structs.replace(option, share=0, quantity=math.inf),)), "finite"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            BookValues(book=bad, shares=20, steps=10)
