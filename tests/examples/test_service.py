"""The service, led through Symphony's life cycle, computes what the plain computation does and refuses bad input clearly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from bridge.services import FatalException, SessionContext, TaskContext
from examples.value_at_risk.check import LossLedger, judge
from examples.value_at_risk.job import Job
from examples.value_at_risk.plain import plain_losses
from examples.value_at_risk.scenarios import day_ranges
from examples.value_at_risk.service import ValueAtRisk
from examples.value_at_risk.wire import decode_losses, encode_job, encode_range

if TYPE_CHECKING:
    from collections.abc import Iterator


def _session(common_data: bytes | None) -> SessionContext:
    return SessionContext(session_id="00ff", common_data=common_data)


def _task(session: SessionContext, payload: bytes) -> TaskContext:
    return TaskContext(session=session, task_id="01", payload=payload)


@pytest.fixture
def session(small_job: Job) -> SessionContext:
    """Give a session whose common data is the small job."""
    return _session(encode_job(small_job))


@pytest.fixture
def service(session: SessionContext) -> Iterator[ValueAtRisk]:
    """Give a service bound to the session."""
    service = ValueAtRisk()
    service.create()
    service.session_enter(session)
    yield service
    service.session_leave()
    service.destroy()


def test_service_equals_the_plain_computation(service: ValueAtRisk, session: SessionContext, small_job: Job) -> None:
    """All tasks of a session, in another order than the days, give the plain losses bit for bit and the same figures."""
    ledger = LossLedger(scenarios=60)
    for first, count in reversed(list(day_ranges(total=60, size=7))):
        ledger.enter(decode_losses(service.invoke(_task(session, encode_range(first=first, count=count)))))
    verdict = judge(ledger.losses(), plain_losses(small_job))

    assert (verdict.identical, verdict.difference, verdict.figures_agree, verdict.agrees) == (60, 0.0, True, True)
    assert (ledger.lost, ledger.repeated) == (0, 0)


def test_updated_common_data_is_used_at_once(service: ValueAtRisk, session: SessionContext, small_job: Job) -> None:
    """After an update tasks are computed with the new book: twice the positions lose twice as much."""
    task = _task(session, encode_range(first=0, count=5))
    before = decode_losses(service.invoke(task)).values
    options = tuple(msgspec.structs.replace(option, quantity=2.0 * option.quantity) for option in small_job.book.options)
    book = msgspec.structs.replace(small_job.book, options=options, holdings=tuple(2.0 * held for held in small_job.book.holdings))
    service.session_update(_session(encode_job(Job(book=book, closes=small_job.closes, horizon=1, steps=small_job.steps))))

    assert np.array_equal(decode_losses(service.invoke(task)).values, 2.0 * before)


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        (b"", "not a range"),
        (b"hello", "not a range"),
        (encode_range(first=60, count=1), "scenarios 60 to 60 are not among 0 to 59"),
        (encode_range(first=0, count=2**31), "are not among 0 to 59"),
    ],
)
def test_bad_task_input_is_fatal(service: ValueAtRisk, session: SessionContext, payload: bytes, complaint: str) -> None:
    """A task input that is no range of the history fails the task for good, with the reason, and the next task works."""
    with pytest.raises(FatalException, match=complaint):
        service.invoke(_task(session, payload))
    assert len(decode_losses(service.invoke(_task(session, encode_range(first=0, count=2)))).values) == 2


@pytest.mark.parametrize(("common_data", "complaint"), [(None, "needs common data"), (b"", "cannot be used"), (encode_range(first=0, count=1), "kind 'job'")])
def test_bad_common_data_is_fatal(common_data: bytes | None, complaint: str) -> None:
    """A session without a usable job is refused at entry, and its tasks too."""
    service = ValueAtRisk()
    session = _session(common_data)
    with pytest.raises(FatalException, match=complaint):
        service.session_enter(session)
    with pytest.raises(FatalException, match="no job"):
        service.invoke(_task(session, encode_range(first=0, count=1)))


def test_a_left_session_leaves_nothing_behind(service: ValueAtRisk, session: SessionContext) -> None:
    """After the session is left no task is computed with its data."""
    service.session_leave()
    with pytest.raises(FatalException, match="no job"):
        service.invoke(_task(session, encode_range(first=0, count=1)))
