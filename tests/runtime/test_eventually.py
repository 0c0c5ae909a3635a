"""The wait that tests rest on is itself tested."""

from __future__ import annotations

import pytest

from tests.support.eventually import eventually, eventually_blocking


async def test_the_answer_is_returned_once_true() -> None:
    """Plain and async checks are asked again until they answer something true, which is returned."""
    answers = iter([0, 0, 7, 0, 8])

    async def ask() -> int:
        return next(answers)

    assert await eventually(lambda: next(answers), within=5) == 7
    assert await eventually(ask, within=5) == 8


async def test_assertions_count_as_not_yet() -> None:
    """A check written with assert is asked again, and its last message is what a test sees when time is up."""
    seen: list[int] = []

    def check() -> bool:
        seen.append(1)
        assert len(seen) > 2, "too early"
        return True

    assert await eventually(check, within=5)

    def never() -> bool:
        raise AssertionError("never")

    with pytest.raises(AssertionError, match="never"):
        await eventually(never, within=0.05)
    with pytest.raises(AssertionError, match=r"not true within 0\.05 s; the last answer was 0"):
        eventually_blocking(lambda: 0, within=0.05)
