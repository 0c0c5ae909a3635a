"""The order of the waiting tasks of one session."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.connectors.base import GridTask
from bridge.connectors.local.queueing import TaskQueue

_priorities = st.lists(st.none() | st.integers(1, 10_000), max_size=40)


def _tasks(priorities: list[int | None]) -> list[GridTask]:
    return [GridTask(bytes([number]), bytes(number), priority=priority) for number, priority in enumerate(priorities)]


def _expected(tasks: list[GridTask]) -> list[GridTask]:
    return sorted(tasks, key=lambda task: -(task.priority or 0))


@given(_priorities, st.lists(st.integers(1, 7), max_size=60))
def test_priorities_first_then_in_turn_whatever_is_put_back(priorities: list[int | None], steps: list[int]) -> None:
    """Taking in bundles of any size, and putting each second one back, gives the same order as taking all at once."""
    queue, tasks, taken = TaskQueue(), _tasks(priorities), []
    queue.add(tasks)
    for turn, count in enumerate(steps):
        bundle = queue.take(count, 10**6)
        if turn % 2:
            queue.put_back(bundle)
        else:
            taken += bundle
    taken += queue.take(1000, 10**6)

    assert _expected(tasks) == taken
    assert (len(queue), queue.size) == (0, 0)


@given(_priorities, st.sets(st.integers(0, 40)))
def test_removing_keeps_the_order_of_the_others(priorities: list[int | None], numbers: set[int]) -> None:
    """Tasks that are removed are gone, wherever they stood; the size is right."""
    queue, tasks = TaskQueue(), _tasks(priorities)
    queue.add(tasks)
    gone = queue.remove({bytes([number]) for number in numbers})
    left = [task for task in tasks if task.task_id[0] not in numbers]

    assert {task.task_id for task in gone} == {task.task_id for task in tasks if task.task_id[0] in numbers}
    assert queue.size == sum(len(task.payload) for task in left)
    assert list(queue) == _expected(left) == queue.clear()


def test_a_bundle_has_a_size_but_at_least_one_task() -> None:
    """Tasks are taken while they fit; one that is too large alone travels alone."""
    queue = TaskQueue()
    queue.add([GridTask(b"a", bytes(100)), GridTask(b"b", bytes(10)), GridTask(b"c", bytes(10)), GridTask(b"d", bytes(10))])

    assert [[task.task_id for task in queue.take(10, 25)] for _ in range(3)] == [[b"a"], [b"b", b"c"], [b"d"]]
    assert queue.size == 0
