"""What a session object does with inputs and outputs; a fake gateway echoes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from sluiceway import (
    AsyncGateway,
    AsyncSession,
    Codec,
    CodecError,
    GatewayOptions,
    JsonCodec,
    RawCodec,
    SessionBusyError,
    SluicewayError,
    SubmissionError,
    TaskFailed,
    TaskInput,
    standard_codecs,
)
from sluiceway.aio.reading import OutputReader
from sluiceway.records import TaskSubmission
from sluiceway.tasks import BulkLimits, split
from tests.client.fake_gateway import FakeGateway, FakeSession, cut, lose_answer
from tests.support.eventually import eventually


@pytest.fixture
def behind(session: AsyncSession, fakes: list[FakeGateway]) -> FakeSession:
    """The session as the fake grid has it."""
    return fakes[0].grid.sessions[session.session_id]


async def test_attributes_reach_the_gateway(gateway: AsyncGateway, fakes: list[FakeGateway]) -> None:
    """What is named is sent, common data through the codec, and what is not named is left out."""
    connection = await gateway.connect(application="Echo")
    async with await connection.create_session(name="n", type="t", priority=9, common_data={"book": 1}, codec="json"):
        pass
    sent = fakes[0].grid.attributes[-1]
    assert (sent.name, sent.type, sent.priority, sent.common_data) == ("n", "t", 9, b'{"book":1}')
    assert repr(sent).count("UNSET") == len(sent.__struct_fields__) - 4


async def test_a_pending_session_is_waited_for(gateway: AsyncGateway, fakes: list[FakeGateway]) -> None:
    """A session that no bridge has claimed yet is returned when one has."""
    fakes[0].grid.pending = 2
    connection = await gateway.connect(application="Echo")
    async with await connection.create_session():
        assert fakes[0].grid.pending < 0


async def test_bulk_is_cut_and_ids_keep_their_order(session: AsyncSession, behind: FakeSession, fakes: list[FakeGateway]) -> None:
    """Many inputs go out in several requests at once; ids come back in the order of the inputs."""
    inputs = [b"%d" % one for one in range(2500)]
    ids = await session.send(inputs)
    assert len(fakes[0].paths("/tasks")) == 3
    payloads = {one.task_id: one.output for one in behind.outputs}
    assert [payloads[one] for one in ids] == inputs


async def test_an_answer_that_is_lost_runs_nothing_twice(session: AsyncSession, behind: FakeSession, fakes: list[FakeGateway]) -> None:
    """Submissions whose answers break off are repeated at the other gateway, and every task runs once."""
    fakes[0].faults = [("/tasks", lose_answer), ("/tasks", cut), ("/outputs", lose_answer)]
    results = [one async for one in session.map([b"%d" % one for one in range(100)])]
    assert results == [b"%d" % one for one in range(100)]
    assert behind.executed == 100


async def test_a_named_submission_can_be_repeated(session: AsyncSession, behind: FakeSession) -> None:
    """The same key and inputs give the same ids and no second run, as after a crash of the caller."""
    first = await session.send([b"a", b"b"], key="run-1")
    assert await session.send([b"a", b"b"], key="run-1") == first
    assert behind.executed == 2


async def test_single_refusals_are_told_apart(session: AsyncSession) -> None:
    """When one input is refused, the error says which, and has the ids of those that were taken."""
    with pytest.raises(SubmissionError, match="1 of 3 task inputs were not taken; input 1: invalid-attribute") as caught:
        await session.send([b"a", TaskInput(value=b"b", tag="!"), b"c"])
    assert [one is None for one in caught.value.task_ids] == [False, True, False]
    assert list(caught.value.refusals) == [1]


async def test_a_request_too_large_is_cut_in_two(session: AsyncSession, behind: FakeSession, fakes: list[FakeGateway]) -> None:
    """Where a gateway takes less than expected, the request is halved until it fits, and nothing is lost or repeated."""
    for one in fakes:
        one.body_max = 100_000
    inputs = [bytes([number]) * 30_000 for number in range(9)]
    ids = await session.send(inputs)
    assert len(set(ids)) == 9
    assert behind.executed == 9


async def test_outputs_are_acknowledged_when_the_next_run_is_asked_for(session: AsyncSession, behind: FakeSession) -> None:
    """A run that is still being worked on is not acknowledged; at the end of the iteration everything is."""
    await session.send([b"%d" % one for one in range(10)])
    seen = 0
    async for _ in session.outputs(count=10):
        seen += 1
        assert behind.acknowledged == 0
    assert seen == 10
    assert behind.acknowledged == 10


async def test_after_a_break_the_iteration_goes_on(session: AsyncSession) -> None:
    """Leaving the loop loses nothing and repeats nothing."""
    await session.send([b"%d" % one for one in range(10)])
    first = []
    async for one in session.outputs():
        first.append(one.payload)
        if len(first) == 4:
            break
    rest = [one.payload async for one in session.outputs(count=6)]
    assert first + rest == [b"%d" % one for one in range(10)]


async def test_the_cursor_stays_before_unfinished_work(session: AsyncSession, gateway: AsyncGateway) -> None:
    """A cursor kept in the middle of a run leads another program to the begin of that run."""
    await session.send([b"%d" % one for one in range(5)])
    taken = 0
    async for _ in session.outputs():
        taken += 1
        if taken == 3:
            break
    again = await gateway.attach(session.session_id, cursor=session.cursor or None)
    assert len(await again.next_outputs(wait=0)) == 5
    await again.aclose()


async def test_the_end_of_the_session_ends_the_iteration(session: AsyncSession, behind: FakeSession) -> None:
    """When the session is closed elsewhere, the iteration ends after the last output."""
    await session.send([b"a"])
    behind.ended = True
    assert [one.payload async for one in session.outputs()] == [b"a"]
    assert session.ended


async def test_outputs_that_come_again_are_dropped(session: AsyncSession, behind: FakeSession) -> None:
    """Task ids that were seen do not come a second time, as after a rewind, and are not counted."""
    await session.send([b"a", b"b"])
    assert len([one async for one in session.outputs(count=2)]) == 2
    behind.outputs += behind.outputs[:2]
    await session.send([b"c"])
    assert [one.payload async for one in session.outputs(count=1)] == [b"c"]


async def test_failures_carry_symphonys_exception(session: AsyncSession) -> None:
    """A failed task raises with code, message and the service's embedded exception."""
    with pytest.raises(TaskFailed, match=r"FailureException 7 \(service-exception\): the service raised \[FailureException 42: fail now\]") as caught:
        await session.submit(b"fail now")
    assert caught.value.code == "service-exception"
    assert caught.value.exception.embedded is not None
    assert caught.value.exception.embedded.error_code == 42


async def test_submissions_gather_while_one_is_under_way(session: AsyncSession, fakes: list[FakeGateway]) -> None:
    """A thousand single submissions take a handful of requests and one poller, not a thousand."""
    futures = [session.submit(b"%d" % one) for one in range(1000)]
    assert await asyncio.gather(*futures) == [b"%d" % one for one in range(1000)]
    assert len(fakes[0].paths("/tasks")) <= 3
    assert len(fakes[0].paths("/outputs")) <= 8


async def test_map_keeps_the_order_and_the_window(session: AsyncSession, behind: FakeSession) -> None:
    """Results come in the order of the inputs, which are read no further than the window."""
    read = 0

    def counted() -> Iterator[bytes]:
        nonlocal read
        for number in range(500):
            read += 1
            yield b"%d" % number

    results = session.map(counted(), window=10)
    assert await anext(results) == b"0"
    assert read <= 11
    assert [one async for one in results] == [b"%d" % one for one in range(1, 500)]
    assert behind.executed == 500


class Told:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.sent = self.done = self.failed = 0

    def submitted(self, count: int) -> None:
        """Count."""
        self.sent += count

    def finished(self, count: int, failed: int) -> None:
        """Count."""
        self.done += count
        self.failed += failed


async def test_progress_is_told(session: AsyncSession) -> None:
    """Whoever watches a map hears of every task once."""
    told = Told()
    results = [one async for one in session.map([b"x"] * 30, progress=told)]
    assert (len(results), told.sent, told.done, told.failed) == (30, 30, 30, 0)


async def test_outputs_and_futures_exclude_each_other(session: AsyncSession, behind: FakeSession) -> None:
    """While futures wait, outputs() refuses with a clear error in place of taking their outputs away."""
    behind.hold = True
    future = session.submit(b"a")
    with pytest.raises(SessionBusyError):
        await session.next_outputs(wait=0)
    future.cancel()


async def test_bulk_outputs_are_not_lost_to_futures(session: AsyncSession) -> None:
    """Outputs of tasks sent in bulk that came while a future was polled for are there for outputs() afterwards."""
    ids = await session.send([b"a", b"b"])
    assert await session.submit(b"future") == b"future"
    ids += await session.send([b"c"])
    await eventually(lambda: session._collector._unclaimed.keys() == set(ids), within=2)
    assert [one.payload async for one in session.outputs(count=3)] == [b"a", b"b", b"c"]


async def test_reattached_futures_get_outputs_already_acknowledged(session: AsyncSession, gateway: AsyncGateway) -> None:
    """After a crash, futures of task ids are settled from behind the cursor and from before it alike."""
    ids = await session.send([b"a", b"b"])
    assert len([one async for one in session.outputs(count=2)]) == 2
    later = await session.send([b"c"])
    again = await gateway.attach(session.session_id, cursor=session.cursor)
    futures = again.reattach([*ids, *later])
    assert await asyncio.gather(*futures.values()) == [b"a", b"b", b"c"]
    await again.aclose()


async def test_closing_settles_futures(session: AsyncSession, behind: FakeSession) -> None:
    """Nobody waits for ever: when the session is closed, waiting futures fail."""
    behind.hold = True
    future = session.submit(b"a")
    await eventually(lambda: behind.known, within=2)
    await session.close()
    with pytest.raises(SluicewayError, match="closed"):
        await future


async def test_steering(session: AsyncSession, behind: FakeSession) -> None:
    """Each verb is one request to the session's own address."""
    await session.suspend()
    await session.resume()
    await session.set_priority(7)
    await session.update_common_data(b"new")
    assert await session.cancel(["t1"]) == 1
    await session.close(detach=True)
    assert behind.calls == ["suspend", "resume", "priority", "close", "{'closeFlags': 'DETACH_ON_CLOSE'}"]
    assert (behind.common, behind.canceled) == ([b"new"], ["t1"])


async def test_a_quiet_session_is_kept_alive(session: AsyncSession, fakes: list[FakeGateway]) -> None:
    """A session that nobody polls is touched before the grid takes its client as gone; one that is gone is left alone."""
    keepalive = session._keepalive
    keepalive._interval = 0.1
    keepalive.remove(session)
    keepalive._task = None
    keepalive.add(session)
    await eventually(lambda: len(fakes[0].paths(f"/v1/sessions/{session.session_id}")) >= 2, within=3)


async def test_codecs(gateway: AsyncGateway, fast: GatewayOptions, fakes: list[FakeGateway]) -> None:
    """Values go through the named codec both ways; an unknown name and a wrong value are refused before anything is sent."""
    connection = await gateway.connect(application="Echo")
    async with await connection.create_session(codec="msgpack") as session:
        assert await session.submit({"days": [1, 2], "x": b"\0", "rate": 0.1}) == {"days": [1, 2], "x": b"\0", "rate": 0.1}
        with pytest.raises(CodecError):
            await session.submit(object())
    with pytest.raises(CodecError, match="known are json, msgpack, raw"):
        await connection.create_session(codec="pickle")
    own: dict[str, Codec] = {"mine": JsonCodec()}
    async with AsyncGateway(fakes[0].url, options=fast, codecs=own) as other:
        connection = await other.connect(application="Echo")
        async with await connection.create_session(codec="mine") as session:
            assert await session.submit([1]) == [1]


def test_no_codec_reads_code() -> None:
    """Pickle is not among the codecs, and raw takes bytes only."""
    assert set(standard_codecs()) == {"raw", "json", "msgpack"}
    with pytest.raises(CodecError, match="must be bytes, not str"):
        RawCodec().encode("text")


@pytest.mark.parametrize(("sizes", "runs"), [([1] * 7, [3, 3, 1]), ([900, 900, 10], [1, 2]), ([5000, 1, 1], [1, 2]), ([], [])])
def test_runs_stay_within_limits(sizes: list[int], runs: list[int]) -> None:
    """Runs keep order, count and size; a single larger task travels alone; the cut does not depend on anything else."""
    tasks = [TaskSubmission(task_input=bytes(size)) for size in sizes]
    cut_runs = list(split(tasks, BulkLimits(count=3, size=1100)))
    assert [len(one) for one in cut_runs] == runs
    assert [task for run in cut_runs for task in run] == tasks


def test_reader_begins_where_it_is_told() -> None:
    """Before anything was read, the cursor is the one that was given."""
    reader = OutputReader(transport=None, path="/v1/sessions/s", cursor="c")  # type: ignore[arg-type] # not used
    assert reader.cursor == "c"
