"""When an input may be given up: all its outputs visible, and the client has them or a second look has shown them."""

from __future__ import annotations

from bridge.holding import Held, Holding
from schemas.ids import task_id
from schemas.messages import SubmissionRange

RUN = SubmissionRange(b"k" * 16, b"fpfp", 2, 0, 2)
A, B = (task_id(RUN.key, RUN.fp, index) for index in (0, 1))


def held_bundle(holding: Holding, tag: int = 7, now: float = 0.0) -> Held:
    """Hold a bundle of the tasks A and B, both waited for."""
    held = Held(tag=tag, ranges=(RUN,))
    holding.add(held)
    for task, _ in held.task_ids():
        holding.wait(held, task)
    holding.settle(held, now)
    return held


def released(holding: Holding, *, acked: int = 1, safe: float = -1.0) -> list[int]:
    """The tags that may go now."""
    return list(holding.release(acked=acked, safe=safe))


def test_an_input_waits_for_the_last_of_its_outputs() -> None:
    """Acknowledged by the client and long safe: not before every task is visible."""
    holding = Holding()
    held_bundle(holding)
    holding.visible(A, 1, 1.0)

    assert released(holding, acked=99, safe=99.0) == []
    holding.visible(B, 5, 2.0)
    assert released(holding, acked=5) == []
    assert released(holding, acked=6) == [7]
    assert not len(holding)


def test_time_counts_from_when_the_last_output_was_seen() -> None:
    """L1: only what was visible by ``safe`` has been seen again after the delay."""
    holding = Holding()
    held_bundle(holding)
    holding.visible(A, 1, 1.0)
    holding.visible(B, 2, 3.0)

    assert released(holding, safe=2.9) == []
    assert released(holding, safe=3.0) == [7]


def test_an_input_goes_once_by_whichever_way() -> None:
    """Neither the client's acknowledgement nor time gives a tag a second time."""
    holding = Holding()
    held_bundle(holding)
    holding.visible(A, 1, 0.0)
    holding.visible(B, 2, 0.0)

    assert released(holding, acked=3, safe=9.0) == [7]
    assert released(holding, acked=3, safe=9.0) == []


def test_copies_of_an_input_wait_for_one_output() -> None:
    """Two deliveries of the same tasks are both complete when the outputs are visible."""
    holding = Holding()
    held_bundle(holding, 1)
    held_bundle(holding, 2)

    assert holding.waiting == 2
    holding.visible(A, 1, 0.0)
    holding.visible(B, 2, 0.0)
    assert sorted(released(holding, acked=3)) == [1, 2]


def test_a_new_epoch_forgets_what_was_visible() -> None:
    """DOUBT: deliveries are kept and looked through again; nothing of the former epoch makes them go."""
    holding = Holding()
    held = held_bundle(holding)
    holding.visible(A, 1, 0.0)
    holding.visible(B, 2, 0.0)

    assert holding.restart() == [held]
    assert released(holding, acked=99, safe=99.0) == []
    for task, _ in held.task_ids():
        holding.wait(held, task)
    holding.settle(held, 10.0)
    holding.visible(A, 1, 11.0)
    assert released(holding, acked=99, safe=99.0) == []
    holding.visible(B, 2, 12.0)
    assert released(holding, safe=11.9) == []
    assert released(holding, safe=12.0) == [7]


def test_a_closed_gate_keeps_an_input() -> None:
    """Until its copy among the dead letters is confirmed, an unreadable input stays."""
    holding = Holding()
    held = Held(tag=7)
    held.gate = True
    holding.add(held)
    holding.settle(held, 0.0)

    assert released(holding, safe=99.0) == []
    holding.unlock(held, 1.0)
    assert released(holding, safe=1.0) == [7]


def test_an_input_without_tasks_goes_by_time_only() -> None:
    """A1: what an own record justifies goes when that record is safe; no client acknowledges it."""
    holding = Holding()
    held = Held(tag=7)
    holding.add(held)
    holding.expect(held)

    assert released(holding, acked=99, safe=99.0) == []
    holding.justified(held, 2.0)
    assert released(holding, acked=1 << 40, safe=1.9) == []
    assert released(holding, safe=2.0) == [7]
