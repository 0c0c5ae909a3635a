"""What travels is versioned MessagePack, and anything else is refused with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from examples.value_at_risk.wire import WireError, decode_job, decode_losses, decode_range, encode_job, encode_losses, encode_range

if TYPE_CHECKING:
    from examples.value_at_risk.job import Job


def test_job_survives_the_way(small_job: Job) -> None:
    """Book, prices and settings arrive as they were sent."""
    arrived = decode_job(encode_job(small_job))

    assert (arrived.book, arrived.horizon, arrived.steps) == (small_job.book, small_job.horizon, small_job.steps)
    assert np.array_equal(arrived.closes, small_job.closes)
    assert arrived.closes.flags.c_contiguous


def test_ranges_and_losses_survive_the_way() -> None:
    """A range and its losses arrive as they were sent, bit for bit."""
    values = np.array([1.5, -0.0, 1e-300])
    arrived = decode_losses(encode_losses(first=7, values=values))

    assert decode_range(encode_range(first=7, count=3)) == (7, 3)
    assert (arrived.first, arrived.values.tobytes()) == (7, values.tobytes())


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not a range"),
        (b"\xff\xff", "not a range"),
        (encode_range(first=1, count=1)[:-1], "not a range"),
        (msgspec.msgpack.encode((1, "range", (1, 0))), ">= 1"),
        (msgspec.msgpack.encode((1, "range", (-1, 1))), ">= 0"),
        (msgspec.msgpack.encode((1, "range", ("1", 1))), "Expected `int`"),
        (msgspec.msgpack.encode((2, "range", {"new": "form"})), "version 2: this program reads version 1"),
        (encode_losses(first=0, values=np.zeros(1)), "kind 'range', not 'losses'"),
    ],
)
def test_what_is_not_a_range_is_refused(data: bytes, complaint: str) -> None:
    """Truncated, foreign, newer and impossible ranges are refused, each with its reason."""
    with pytest.raises(WireError, match=complaint):
        decode_range(data)


def test_what_is_not_a_job_is_refused(small_job: Job) -> None:
    """Prices that are cut, uneven, zero or not numbers make no job."""
    version, kind, (book, shares, closes, horizon, steps) = msgspec.msgpack.decode(encode_job(small_job))
    for bad, complaint in [
        (closes[:-1], "full doubles"),
        (closes[:-8], "full days"),
        (bytes(8) + closes[8:], "positive"),
        (np.array([np.nan]).tobytes() + closes[8:], "positive"),
    ]:
        with pytest.raises(WireError, match=complaint):
            decode_job(msgspec.msgpack.encode((version, kind, (book, shares, bad, horizon, steps))))
