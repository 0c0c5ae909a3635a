"""The behaviours that every connector shows: inherit ``ConnectorContract`` and provide the fixtures ``grid`` and ``single``."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.connectors.base import Cancellable, ConnectorError, GridSession, Outcome, Prioritised, SessionRefusedError, Suspendable, Updatable
from schemas.symphony import EmbeddedException, SymphonyException
from tests.connectors.grids import Grid, Inbox, order, task_id
from tests.support.eventually import eventually

__all__ = ["ConnectorContract"]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _codes(outcomes: Sequence[Outcome]) -> list[str | None]:
    return [None if outcome.exception is None else outcome.exception.code for outcome in outcomes]


async def _one(session: GridSession, do: str, *, tag: str = "", **details: Any) -> Outcome:  # noqa: ANN401 (goes to the service as it is)
    """Run one task and return its outcome."""
    await session.submit([order(1, do, tag=tag, **details)])
    return (await Inbox(session).take(1))[0]


class Gate:
    """A task that stands still until the test lets it through."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "gate")

    async def reached(self) -> None:
        """Wait until the task runs."""
        await eventually(Path(self.path + ".reached").exists, within=10)

    def forget(self) -> None:
        """Let the next run be seen."""
        Path(self.path + ".reached").unlink()

    def open(self) -> None:
        """Let it through."""
        Path(self.path).touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A closed gate."""
    return Gate(tmp_path)


class OutcomeContract:
    """Every task has exactly one outcome, in calm and under disturbance."""

    async def test_each_of_10000_tasks_gives_its_own_output_once(self, grid: Grid) -> None:
        """Bundles of 100, 10,000 tasks: each output is that of its own task, and none comes twice."""
        session = await grid.open(type="stubborn")
        inbox, got = Inbox(session), []
        async with asyncio.TaskGroup() as group:
            group.create_task(_feed(session, 10_000, 100))
            for _ in range(10):
                got += await inbox.take(1000)
                if grid.disturb is not None:
                    await grid.disturb()
        await session.close(destroy=True)

        assert {task_id(number): str(number).encode() for number in range(10_000)} == {one.task_id: one.payload for one in got}
        assert await inbox.rest() == []

    async def test_two_sessions_keep_their_outcomes_apart(self, grid: Grid) -> None:
        """Sessions with the same task ids and different common data get their own outputs."""
        sessions = [await grid.open(type="stubborn", common_data=data) for data in (b"left", b"right")]
        for session in sessions:
            await session.submit([order(number, "common") for number in range(300)])
        if grid.disturb is not None:
            await grid.disturb()
        got = [Counter(one.payload for one in await Inbox(session).take(300)) for session in sessions]

        assert got == [{b"left": 300}, {b"right": 300}]

    async def test_payloads_from_nothing_to_megabytes(self, grid: Grid) -> None:
        """Empty and large inputs come back unchanged."""
        sizes = [0, 1, 65_535, 65_536, 3_000_000]
        session = await grid.open(type="stubborn")
        await session.submit([order(number, "echo", data=bytes([number]) * size) for number, size in enumerate(sizes)])
        got = {one.task_id: one.payload for one in await Inbox(session).take(len(sizes))}

        assert got == {task_id(number): bytes([number]) * size for number, size in enumerate(sizes)}


async def _feed(session: GridSession, count: int, bundle: int) -> None:
    for start in range(0, count, bundle):
        await session.submit([order(number, "echo", data=str(number).encode()) for number in range(start, start + bundle)])


class SessionContract:
    """Sessions: what services see, order, update, suspension, closing."""

    async def test_service_sees_session_and_task(self, grid: Grid) -> None:
        """Session id, session tag, task id and task tag arrive at the service."""
        session = await grid.open(tag="night-run")
        outcome = await _one(session, "describe", tag="row-7")

        assert outcome.payload is not None
        seen = msgspec.json.decode(outcome.payload)
        assert seen[1:] == ["night-run", task_id(1).hex(), "row-7"]
        assert seen[0] in session.native_id

    async def test_common_data_unset_is_not_empty(self, grid: Grid) -> None:
        """No common data and empty common data are different things."""
        outputs = [(await _one(await grid.open(common_data=data), "common")).payload for data in (None, b"")]

        assert outputs == [b"none", b""]

    async def test_unknown_names_are_refused(self, grid: Grid) -> None:
        """An unknown application or session type is refused with its own code."""
        with pytest.raises(SessionRefusedError) as application:
            await grid.open("nobody")
        with pytest.raises(SessionRefusedError) as session_type:
            await grid.open(type="nothing")

        assert application.value.code == "unknown-application"
        assert session_type.value.code == "unknown-session-type"

    async def test_priority_tasks_go_first(self, single: Grid, gate: Gate) -> None:
        """Within a session tasks with a priority go first, the highest before all, equal ones and the others in turn."""
        session = await single.open()
        inbox = Inbox(session)
        await session.submit([order(0, "await_file", gate=gate.path)])
        await gate.reached()
        await session.submit([order(1, "echo"), order(2, "echo", priority=5), order(3, "echo")])
        await session.submit([order(4, "echo", priority=10_000), order(5, "echo", priority=5), order(6, "echo", priority=1)])
        gate.open()

        assert [one.task_id for one in await inbox.take(7)] == [task_id(number) for number in (0, 4, 2, 5, 6, 1, 3)]

    async def test_update_reaches_tasks_that_begin_later(self, single: Grid, gate: Gate) -> None:
        """Tasks that have not begun see the replaced common data; the running one is left alone."""
        session = await single.open(common_data=b"old")
        assert isinstance(session, Updatable)
        inbox = Inbox(session)
        await session.submit([order(number, "common") for number in range(50)])
        before = await inbox.take(50)
        await session.submit([order(100, "await_file", gate=gate.path), *(order(number, "common") for number in range(101, 150))])
        await gate.reached()
        await session.update(b"new")
        gate.open()
        after = await inbox.take(50)

        assert {one.payload for one in before} == {b"old"}
        assert [one.payload for one in after] == [b"through"] + 49 * [b"new"]

    async def test_suspended_session_starts_nothing(self, single: Grid, tmp_path: Path) -> None:
        """While a session is suspended none of its tasks starts, others run on; resuming goes on in order."""
        held, other = await single.open(), await single.open()
        assert isinstance(held, Suspendable)
        await held.suspend()
        await held.suspend()
        await held.submit([order(number, "echo", note=str(tmp_path / "runs")) for number in range(20)])
        await other.submit([order(number, "echo") for number in range(20)])
        await Inbox(other).take(20)
        started_while_held = _lines(tmp_path / "runs")
        await held.resume()
        await held.resume()

        assert started_while_held == []
        assert [one.task_id for one in await Inbox(held).take(20)] == [task_id(number) for number in range(20)]

    async def test_suspension_ends_running_tasks_after_the_grace_period(self, single: Grid, gate: Gate, tmp_path: Path) -> None:
        """A task that goes on past the grace period is stopped and runs again after resuming, without counting a failed run."""
        session = await single.open(type="hasty")
        assert isinstance(session, Suspendable)
        inbox = Inbox(session)
        await session.submit([order(1, "await_file", gate=gate.path, note=str(tmp_path / "runs"))])
        for _ in range(2):
            await gate.reached()
            gate.forget()
            await session.suspend()
            assert (await _one(await single.open(), "echo")).exception is None
            await session.resume()
        await gate.reached()
        gate.open()
        outcome = (await inbox.take(1))[0]

        assert outcome.payload == b"through"
        assert _lines(tmp_path / "runs") == 3 * [task_id(1).hex()]

    async def test_destroy_drops_what_is_unfinished(self, single: Grid, gate: Gate, tmp_path: Path) -> None:
        """After closing with destroy no outcome comes, nothing more starts, and the running task does not hold up others."""
        session = await single.open()
        inbox = Inbox(session)
        await session.submit([order(0, "await_file", gate=gate.path)])
        await session.submit([order(number, "echo", note=str(tmp_path / "runs")) for number in range(1, 100)])
        await gate.reached()
        await session.close(destroy=True)
        await session.close(destroy=True)

        assert await inbox.rest() == []
        assert (await _one(await single.open(), "echo")).exception is None
        assert _lines(tmp_path / "runs") == []
        with pytest.raises(ConnectorError):
            await session.submit([order(200, "echo")])

    async def test_detached_session_gives_what_was_ready(self, single: Grid) -> None:
        """Closing without destroy ends the outcomes after those that had come."""
        session = await single.open()
        inbox = Inbox(session)
        await session.submit([order(number, "echo") for number in range(10)])
        await inbox.take(10)
        await session.close(destroy=False)

        assert await inbox.rest() == []


class PowerContract:
    """Cancelling and sharing."""

    async def test_cancelling_waiting_and_running_tasks(self, single: Grid, gate: Gate, tmp_path: Path) -> None:
        """Each cancelled task has one outcome of type Cancelled, the others run; unknown ids and finished tasks are ignored."""
        session = await single.open()
        assert isinstance(session, Cancellable)
        inbox = Inbox(session)
        await session.submit([order(number, "echo") for number in range(100, 150)])
        await inbox.take(50)
        await session.submit([order(0, "await_file", gate=gate.path)])
        await session.submit([order(number, "echo", note=str(tmp_path / "runs")) for number in range(1, 11)])
        await gate.reached()
        await session.cancel([task_id(number) for number in (0, 2, 4, 100, 999)])
        outcomes = {one.task_id: one for one in await inbox.take(11)}
        await session.close(destroy=False)

        assert await inbox.rest() == []
        ended = {number: outcomes[task_id(number)].exception for number in range(11)}
        assert {0, 2, 4} == {number for number, exception in ended.items() if exception is not None}
        assert ended[0] == SymphonyException(error_type="Cancelled", code="cancelled", message="the task was cancelled")
        assert sorted(_lines(tmp_path / "runs")) == [task_id(number).hex() for number in (1, 3, 5, 6, 7, 8, 9, 10)]

    async def test_sessions_share_by_priority(self, single: Grid) -> None:
        """Priorities 1, 2 and 4 get 1, 2 and 4 parts of the tasks done, within 15 %."""
        sessions = [await single.open(priority=priority) for priority in (1, 2, 3)]
        third = sessions[2]
        assert isinstance(third, Prioritised)
        await third.prioritise(4)
        for session in sessions:
            assert isinstance(session, Suspendable)
            await session.suspend()
            await session.submit([order(number, "sleep", seconds=0.001) for number in range(2000)])
        for session in sessions:
            assert isinstance(session, Suspendable)
            await session.resume()
        done: Counter[int] = Counter()
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(_count(session, done, index)) for index, session in enumerate(sessions)]
            await eventually(lambda: done.total() >= 2100, within=20)
            shares = [done[index] / done.total() * 7 for index in range(3)]
            for reader in readers:
                reader.cancel()

        assert shares == pytest.approx([1, 2, 4], rel=0.15)


async def _count(session: GridSession, done: Counter[int], index: int) -> None:
    async for bundle in session.outcomes():
        done[index] += len(bundle)


class FailureContract:
    """What services do wrong, and how it reads."""

    @pytest.mark.parametrize(
        ("do", "details", "text"),
        [
            ("exit", {"code": 3}, "exit code 3"),
            ("vanish", {"code": 0}, "exit code 0"),
            ("signal", {"signal": int(signal.SIGSEGV)}, "signal SIGSEGV"),
            ("signal", {"signal": int(signal.SIGKILL)}, "signal SIGKILL"),
        ],
    )
    async def test_a_task_that_ends_its_process(self, single: Grid, tmp_path: Path, do: str, details: dict[str, Any], text: str) -> None:
        """It is run once more, then fails with the way in which it ended; its neighbours in the bundle all succeed."""
        session = await single.open()
        inbox = Inbox(session)
        await session.submit([order(number, "echo") for number in range(1000, 1100)])
        await inbox.take(100)
        neighbours = [order(number, "echo") for number in range(100)]
        await session.submit([*neighbours[:50], order(500, do, note=str(tmp_path / "runs"), **details), *neighbours[50:]])
        outcomes = await inbox.take(101)

        failed = [one for one in outcomes if one.exception is not None]
        assert [one.task_id for one in failed] == [task_id(500)]
        assert failed[0].exception is not None
        assert (failed[0].exception.error_type, failed[0].exception.code) == ("FailureException", "service-exited")
        assert text in failed[0].exception.message
        assert len(_lines(tmp_path / "runs")) == 2

    @pytest.mark.parametrize("in_c", [False, True])
    async def test_a_task_that_hangs(self, single: Grid, tmp_path: Path, *, in_c: bool) -> None:
        """Past its time limit it is ended, run once more and fails; its neighbours succeed."""
        session = await single.open()
        inbox = Inbox(session)
        await session.submit([order(number, "echo") for number in range(1000, 1100)])
        await inbox.take(100)
        tasks = [order(number, "echo") for number in range(20)]
        tasks.insert(10, order(500, "hang", timeout=0.3, in_c=in_c, note=str(tmp_path / "runs")))
        await session.submit(tasks)
        outcomes = await inbox.take(21)

        failed = [one for one in outcomes if one.exception is not None]
        assert [one.task_id for one in failed] == [task_id(500)]
        assert failed[0].exception == SymphonyException(
            error_type="FailureException", code="task-timeout", message="the run took longer than 0.3 s and was ended"
        )
        assert len(_lines(tmp_path / "runs")) == 2

    @pytest.mark.parametrize(
        ("do", "runs", "expected"),
        [
            ("failure", 2, ("FailureException", 42, EmbeddedException(error_type="FailureException", error_code=42, message="no luck"))),
            ("fatal", 1, ("FatalException", -3, EmbeddedException(error_type="FatalException", error_code=-3, message="never"))),
            ("service_error", 1, ("FatalException", 0, EmbeddedException(error_type="FatalException", message="not today"))),
            ("bug", 1, ("FatalException", 0, EmbeddedException(error_type="ZeroDivisionError", message="a bug"))),
            ("unprintable", 1, ("FatalException", 0, EmbeddedException(error_type="Nasty"))),
            ("surrogate", 1, ("FatalException", 0, EmbeddedException(error_type="FatalException", message="? half a letter"))),
        ],
    )
    async def test_an_exception_is_embedded(self, single: Grid, tmp_path: Path, do: str, runs: int, expected: tuple[object, ...]) -> None:
        """A FailureException is retried up to the limit, every other exception is not; the client reads what the service raised."""
        outcome = await _one(await single.open(), do, note=str(tmp_path / "runs"))

        exception = outcome.exception
        assert exception is not None
        assert exception.code == "service-exception"
        assert (exception.error_type, exception.error_code, exception.embedded) == expected
        assert len(_lines(tmp_path / "runs")) == runs

    async def test_a_long_message_is_cut(self, single: Grid) -> None:
        """Of a message not more than 4 KiB of UTF-8 go on, cut between letters."""
        exception = (await _one(await single.open(), "failure", message="é" * 5000)).exception

        assert exception is not None
        assert exception.message == "é" * 2048

    async def test_a_retry_that_succeeds_is_a_success(self, single: Grid, tmp_path: Path) -> None:
        """A task that fails once and then succeeds has an output and no exception."""
        outcome = await _one(await single.open(), "fail_until", count=str(tmp_path / "count"), runs=1)

        assert (outcome.payload, outcome.exception) == (b"at last", None)

    async def test_nonsense_and_too_large_outputs(self, single: Grid) -> None:
        """What is not bytes, or more bytes than allowed, fails its task and no other."""
        session = await single.open()
        await session.submit([order(1, "nonsense"), order(2, "big", size=8 * 1024 * 1024 + 1), order(3, "big", size=8 * 1024 * 1024), order(4, "echo")])
        outcomes = sorted(await Inbox(session).take(4), key=lambda one: one.task_id)

        assert _codes(outcomes) == ["invalid-output", "output-too-large", None, None]

    async def test_a_strict_session_ends_with_its_first_failed_task(self, single: Grid, gate: Gate) -> None:
        """With abort_session_if_task_fail all other tasks, running and later ones, fail as session-aborted."""
        session = await single.open(type="strict")
        inbox = Inbox(session)
        await session.submit([order(0, "await_file", gate=gate.path), order(1, "failure"), order(2, "hang")])
        await gate.reached()
        gate.open()
        first = await inbox.take(3)
        await session.submit([order(3, "echo")])

        assert _codes(first) == [None, "service-exception", "session-aborted"]
        assert _codes(await inbox.take(1)) == ["session-aborted"]


class LifeCycleContract:
    """Symphony's life cycle of a service, and sessions that cannot be entered."""

    async def test_order_of_the_life_cycle(self, single: Grid, tmp_path: Path) -> None:
        """Create, enter, update, leave and enter again come in Symphony's order; destroy comes when the grid is let go of."""
        file = tmp_path / "diary"
        first = await single.open("diary", common_data=f"{file} a".encode())
        second = await single.open("diary", common_data=f"{file} b".encode())
        assert isinstance(first, Updatable)
        inboxes = Inbox(first), Inbox(second)
        for number, at in enumerate((0, 0, 1, 0)):
            await (first, second)[at].submit([order(number, "-", tag=str(number))])
            await inboxes[at].take(1)
            if number == 0:
                await first.update(f"{file} c".encode())
        await first.close(destroy=True)
        await single.connector.aclose()

        life = "create|enter a|invoke 0|update c|invoke 1|leave|enter b|invoke 2|leave|enter c|invoke 3|leave|destroy"
        assert _lines(file) == life.split("|")

    async def test_entering_is_tried_again(self, single: Grid, tmp_path: Path) -> None:
        """A session_enter that fails up to session_retry_limit times costs nothing but time."""
        session = await single.open("diary", common_data=f"{tmp_path / 'diary'} x 3".encode())
        await session.submit([order(1, "-"), order(2, "-")])

        assert _codes(await Inbox(session).take(2)) == [None, None]

    @pytest.mark.parametrize(("how", "entered", "code"), [("4", 4, 11), ("fatal", 1, 12), ("exit", 4, 0)])
    async def test_a_session_that_cannot_be_entered(self, single: Grid, tmp_path: Path, how: str, entered: int, code: int) -> None:
        """After the retry limit, at once for a FatalException, the session's tasks fail, and so do later ones; other sessions run."""
        session = await single.open("diary", common_data=f"{tmp_path / 'diary'} x {how}".encode())
        inbox = Inbox(session)
        await session.submit([order(1, "-"), order(2, "-")])
        outcomes = await inbox.take(2)
        await session.submit([order(3, "-")])
        outcomes += await inbox.take(1)
        other = await single.open("diary", common_data=f"{tmp_path / 'diary'} y".encode())

        assert _codes(outcomes) == 3 * ["session-enter-failed"]
        assert {one.exception.error_code for one in outcomes if one.exception is not None} == {code}
        assert _lines(tmp_path / "diary").count("enter x") == entered
        assert (await _one(other, "-")).exception is None


class ConnectorContract(OutcomeContract, SessionContract, PowerContract, FailureContract, LifeCycleContract):
    """All behaviours."""
