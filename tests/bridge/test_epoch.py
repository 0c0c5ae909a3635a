"""One epoch of an owner: a number is given once, and whatever does not come back in order is a doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from bridge.epoch import DoubtError, Epoch, EpochLimits
from broker.journal.done import DoneTasks
from broker.journal.fold import Fold, Verdict, parse_record
from broker.journal.stream import StreamRecord
from broker.journal.writer import JournalWriter
from schemas.records import RecordKind, SessionControls, TaskOutput
from tests.support.journals import SID, task_of


class Paper:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[StreamRecord] = []
        self.confirms: list[asyncio.Future[None]] = []

    def post(self, *, exchange: str, key: str, body: bytes, headers: Mapping[str, int | str], message_id: str) -> asyncio.Future[None]:
        """Keep a record."""
        del exchange, key
        self.records.append(StreamRecord(len(self.records), message_id, headers, body))
        self.confirms.append(asyncio.get_running_loop().create_future())
        return self.confirms[-1]


class Desk:
    """An owner's fold and epoch over one paper."""

    def __init__(self, **limits: float) -> None:
        self.paper = Paper()
        self.fold = Fold(SID, done=DoneTasks())
        writer = JournalWriter(publisher=cast("Any", self.paper), cluster="c", lane=0, sid=SID, worker="w")
        self.failures: list[int] = []
        self.epoch = Epoch(
            writer=writer,
            fold=self.fold,
            limits=EpochLimits(**cast("Any", limits)),
            failed=lambda _error, num: self.failures.append(num),
            progressed=lambda: None,
        )
        self.read = 0

    def back(self) -> list[TaskOutput]:
        """Read back everything written so far; return the outcomes that are visible by it."""
        seen: list[TaskOutput] = []
        for raw in self.paper.records[self.read :]:
            seen += self.step(raw)
        self.read = len(self.paper.records)
        return seen

    def step(self, raw: StreamRecord) -> Sequence[TaskOutput]:
        """Read one record back."""
        record = parse_record(raw)
        assert record is not None
        return self.epoch.saw(record, self.fold.step(record))

    def begin(self) -> None:
        """Mark and open, read back."""
        self.epoch.begin(1, "c1")
        self.back()
        self.epoch.open()
        self.back()

    def kinds(self) -> list[object]:
        """What was written."""
        return [record.headers["kind"] for record in self.paper.records]


def outcome(task: int, size: int = 1) -> TaskOutput:
    """An outcome of a task."""
    return TaskOutput(task_of(task), 1, "", 0.0, b"x" * size)


async def test_a_task_gets_a_number_once() -> None:
    """Completion and cancel race here: the second has no effect."""
    desk = Desk()
    desk.begin()

    assert [desk.epoch.assign(outcome(1)), desk.epoch.assign(outcome(1))] == [True, False]
    desk.epoch.flush()
    assert [one.task_id for one in desk.back()] == [task_of(1)]
    assert (desk.fold.next, desk.epoch.last, desk.epoch.idle) == (2, 1, True)


async def test_numbers_run_on_over_bundles() -> None:
    """Bundles of at most 1 MiB, numbered without a gap, whole when read back."""
    desk = Desk()
    desk.begin()
    for task in range(5):
        desk.epoch.assign(outcome(task, 400_000))
    desk.epoch.flush()

    assert [record.headers["first"] for record in desk.paper.records[2:]] == [1, 3, 5]
    assert len(desk.back()) == 5
    assert desk.fold.next == 6


async def test_no_more_than_the_window_is_unconfirmed() -> None:
    """A reader has to take whole chunks, so what lies unconfirmed is bounded; a confirm lets more out."""
    desk = Desk(unconfirmed_bytes=500_000)
    desk.begin()
    for confirm in desk.paper.confirms:
        confirm.set_result(None)
    await asyncio.sleep(0)
    for task in range(4):
        desk.epoch.assign(outcome(task, 600_000))
    desk.epoch.flush()
    assert desk.kinds().count("outs") == 1

    desk.paper.confirms[-1].set_result(None)
    await asyncio.sleep(0)
    desk.epoch.flush()
    assert desk.kinds().count("outs") == 2


async def test_a_publication_that_is_missing_is_a_doubt() -> None:
    """B3: own publications come back consecutively, or the owner reads again."""
    desk = Desk()
    desk.begin()
    desk.epoch.change(SessionControls())
    desk.epoch.change(SessionControls())

    with pytest.raises(DoubtError):
        desk.step(desk.paper.records[-1])


async def test_a_publication_that_comes_twice_is_none() -> None:
    """A record that the broker stored again says nothing new."""
    desk = Desk()
    desk.begin()
    desk.epoch.assign(outcome(1))
    desk.epoch.flush()
    desk.back()

    assert desk.step(desk.paper.records[-1]) == []


async def test_an_own_record_that_does_not_count_is_a_doubt() -> None:
    """A void or a gap among the own records: somebody else, or a loss."""
    desk = Desk()
    desk.begin()
    desk.epoch.assign(outcome(1))
    desk.epoch.flush()
    record = parse_record(desk.paper.records[-1])
    assert record is not None

    with pytest.raises(DoubtError):
        desk.epoch.saw(record, Verdict.GAP)


async def test_silence_is_a_doubt_unless_the_broker_blocks() -> None:
    """A publication not read back in time; timers stand still while publishers are blocked."""
    desk = Desk(readback_seconds=5.0)
    now = asyncio.get_running_loop().time()
    desk.begin()
    desk.epoch.change(SessionControls())

    desk.epoch.check(now + 4)
    desk.epoch.excuse(now + 10)
    desk.epoch.check(now + 14)
    with pytest.raises(DoubtError):
        desk.epoch.check(now + 16)


async def test_a_failed_publication_names_its_epoch() -> None:
    """The owner is told which epoch failed, so that a late failure of a former one is no doubt."""
    desk = Desk()
    desk.begin()
    desk.paper.confirms[0].set_exception(ConnectionError())
    await asyncio.sleep(0)

    assert desk.failures == [1]


async def test_a_snapshot_is_a_place_to_start_only_when_read_back() -> None:
    """B7: the record after the snapshot was read back names it, none before; and it waits until nothing is in flight."""
    desk = Desk(snapshot_bytes=1000)
    desk.epoch.begin(1, "c1")
    desk.back()
    desk.epoch.open()
    desk.epoch.change(SessionControls())
    desk.back()
    assert "scan" not in desk.paper.records[-1].headers
    desk.epoch.assign(outcome(1, 2000))
    desk.epoch.flush()
    assert desk.paper.records[-1].headers["scan"] == f"1 {desk.paper.records[1].message_id}"

    desk.epoch.assign(outcome(2))
    desk.epoch.flush()
    assert desk.kinds()[-1] == RecordKind.OUTS.value
    desk.back()
    desk.epoch.flush()
    assert desk.kinds()[-2:] == ["snap", "outs"]
