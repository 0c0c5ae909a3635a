"""The set of finished tasks: exact for membership, never below the true number, and the same after a snapshot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.journal.done import DoneTasks
from schemas.ids import task_id

tasks = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 19)), max_size=60)
"""Key, fingerprint and index; submission ``key`` has ``SIZES[key]`` tasks."""
SIZES = (1, 2, 9, 20)


def name(key: int, fp: int, index: int) -> bytes:
    """The id of a task."""
    return task_id(b"%016d" % key, b"fp%02d" % fp, index)


def fill(done: DoneTasks, chosen: list[tuple[int, int, int]], first: int = 1) -> dict[bytes, int]:
    """Add tasks with rising numbers; return the first number of each."""
    numbers: dict[bytes, int] = {}
    for number, (key, fp, index) in enumerate(chosen, first):
        if index < SIZES[key]:
            done.add(name(key, fp, index), SIZES[key], number)
            numbers.setdefault(name(key, fp, index), number)
    return numbers


def everything() -> list[bytes]:
    """All tasks there can be."""
    return [name(key, fp, index) for key in range(4) for fp in range(2) for index in range(SIZES[key])]


@given(chosen=tasks)
def test_exactly_what_was_added_is_done(chosen: list[tuple[int, int, int]]) -> None:
    """A task has a number, not below its own, when it was added and not otherwise."""
    done = DoneTasks()
    numbers = fill(done, chosen)

    for task in everything():
        known = done.number(task)
        assert (known is not None) == (task in numbers)
        assert known is None or known >= numbers[task]


@given(before=tasks, after=tasks)
def test_a_listing_carries_everything_into_another_set(before: list[tuple[int, int, int]], after: list[tuple[int, int, int]]) -> None:
    """A snapshot merged into a set that knows other tasks gives the union."""
    one, other = DoneTasks(), DoneTasks()
    numbers = fill(one, before) | fill(other, after, first=100)
    other.merge(list(one.listing()))

    assert {task for task in everything() if other.number(task) is not None} == numbers.keys()
    again = DoneTasks()
    again.merge(list(other.listing()))
    again.merge(list(other.listing()))
    assert [again.number(task) for task in everything()] == [other.number(task) for task in everything()]
    assert again.submissions == other.submissions


@given(chosen=tasks)
def test_a_key_with_another_body_is_told(chosen: list[tuple[int, int, int]]) -> None:
    """C2: a key counts as reused when it has finished tasks under another fingerprint only."""
    done = DoneTasks()
    added = {task[:20] for task in fill(done, chosen)}

    for key in range(4):
        known = {fp for fp in range(2) if name(key, fp, 0)[:20] in added}
        assert done.other_fingerprint(b"%016d" % key, b"fp77") == bool(known)
        for fp in known:
            assert not done.other_fingerprint(b"%016d" % key, b"fp%02d" % fp)


def test_an_index_beyond_its_submission_is_never_done() -> None:
    """A finished submission says nothing about tasks it does not have."""
    done = DoneTasks()
    done.add(name(0, 0, 0), 1, 1)
    done.add(name(0, 0, 1), 1, 2)

    assert done.number(name(0, 0, 1)) is None
