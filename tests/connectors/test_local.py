"""What is particular to the local grid: its processes, its back pressure, its refusals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
import pytest
import uvloop

from bridge.connectors.base import ConnectorError, GridTask, Outcome, SessionRefusedError
from bridge.connectors.local.connector import LocalConnector
from bridge.connectors.local.profile import ApplicationProfile, LocalSettings, SessionType
from bridge.connectors.local.session import LocalSession
from tests.connectors.contract import Gate, gate
from tests.connectors.grids import Grid, Inbox, order, task_id
from tests.support.eventually import eventually

__all__ = ["Gate", "gate"]


def _settings(service: str = "tests.connectors.probes:Probe", **more: object) -> LocalSettings:
    """One application, ``probe``, with one worker process unless told otherwise."""
    applications = [msgspec.to_builtins(ApplicationProfile(name="probe", service=service))]
    return msgspec.convert({"kind": "local", "processes": 1, "applications": applications, **more}, LocalSettings)


def _alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _pids(connector: LocalConnector) -> list[int]:
    return [worker.pid for worker in connector._pools["probe"].crew.workers]


async def test_tasks_never_run_in_the_bridge() -> None:
    """Every task runs in one of the worker processes, and each of those gets its share."""
    async with LocalConnector(settings=_settings(processes=2)) as connector:
        session = await Grid(connector).open()
        await eventually(lambda: len(_pids(connector)) == 2, within=10)
        await session.submit([order(number, "sleep", seconds=0.005) for number in range(20)])
        inbox = Inbox(session)
        await inbox.take(20)
        await session.submit([order(number, "pid") for number in range(100, 101)])
        pid = int((await inbox.take(1))[0].payload or b"0")

        assert pid in _pids(connector)
        assert connector.slots == 2
        assert list(connector.applications) == ["probe"]


async def test_slow_tasks_spread_evenly() -> None:
    """Of 20 tasks that take 50 ms each, two processes run 10 each, one more or less."""
    async with LocalConnector(settings=_settings(processes=2)) as connector:
        session = await Grid(connector).open()
        await eventually(lambda: len(_pids(connector)) == 2, within=10)
        began = time.monotonic()
        await session.submit([order(number, "sleep", seconds=0.05) for number in range(20)])
        await Inbox(session).take(20)

        assert time.monotonic() - began < 0.05 * 15


async def test_quick_outputs_do_not_wait_behind_a_slow_task(gate: Gate) -> None:
    """In one bundle, outputs of tasks before a slow one are given out while it runs."""
    async with LocalConnector(settings=_settings()) as connector:
        session = await Grid(connector).open()
        inbox = Inbox(session)
        await session.submit([order(number, "echo") for number in range(200)])
        await inbox.take(200)
        await session.submit([order(1000, "echo"), order(1001, "echo"), order(1002, "await_file", gate=gate.path), order(1003, "echo")])
        early = await inbox.take(2, within=5)
        gate.open()

        assert [one.task_id for one in early] == [task_id(1000), task_id(1001)]
        assert {one.task_id for one in await inbox.take(2)} == {task_id(1002), task_id(1003)}


async def test_tasks_behind_a_slow_one_move_to_another_process(gate: Gate) -> None:
    """A task that turns out slow does not hold up those that were bundled behind it."""
    async with LocalConnector(settings=_settings(processes=2)) as connector:
        session = await Grid(connector).open()
        await eventually(lambda: len(_pids(connector)) == 2, within=10)
        inbox = Inbox(session)
        await session.submit([order(number, "echo") for number in range(500)])
        await inbox.take(500)
        await session.submit([order(1000, "await_file", gate=gate.path), *(order(number, "echo") for number in range(1001, 2000))])
        early = await inbox.take(999, within=5)
        gate.open()

        assert {one.task_id for one in early} == {task_id(number) for number in range(1001, 2000)}
        assert [one.payload for one in await inbox.take(1)] == [b"through"]


async def test_submit_waits_for_room_and_can_be_cancelled(gate: Gate) -> None:
    """Above waiting_tasks submit waits; a cancelled call has handed over nothing, the next one everything."""
    async with LocalConnector(settings=_settings(waiting_tasks=10)) as connector:
        session = await Grid(connector).open()
        inbox = Inbox(session)
        await session.submit([order(0, "await_file", gate=gate.path)])
        await gate.reached()
        await session.submit([order(number, "echo") for number in range(1, 12)])
        waiting = asyncio.ensure_future(session.submit([order(number, "echo") for number in range(20, 30)]))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        waiting.cancel()
        await asyncio.wait([waiting])
        again = asyncio.ensure_future(session.submit([order(number, "echo") for number in range(40, 50)]))
        gate.open()
        await again
        got = await inbox.take(22)
        await session.close(destroy=False)

        assert done == set()
        assert {one.task_id for one in got} == {task_id(number) for number in (*range(12), *range(40, 50))}
        assert await inbox.rest() == []


async def test_submit_that_waits_ends_with_the_session(gate: Gate) -> None:
    """A call that waits for room fails when the session is closed."""
    async with LocalConnector(settings=_settings(waiting_bytes=1)) as connector:
        session = await Grid(connector).open()
        await session.submit([order(0, "await_file", gate=gate.path)])
        await session.submit([order(1, "echo")])
        waiting = asyncio.ensure_future(session.submit([order(2, "echo")]))
        await gate.reached()
        await session.close(destroy=True)

        with pytest.raises(ConnectorError):
            await waiting


async def test_outcomes_that_nobody_takes_stop_the_session() -> None:
    """Above outcome_bytes none of the session's tasks starts until its owner takes what is there; other sessions go on."""
    async with LocalConnector(settings=_settings(outcome_bytes=200_000)) as connector:
        grid = Grid(connector)
        full, other = await grid.open(), await grid.open()
        assert isinstance(full, LocalSession)
        await full.submit([order(number, "big", size=100_000) for number in range(100)])
        await eventually(lambda: not full.runnable, within=10)
        held = len(full.queue)
        await other.submit([order(number, "echo") for number in range(100)])
        await Inbox(other).take(100)

        assert held > 0
        assert len(full.queue) == held
        assert len(await Inbox(full).take(100)) == 100


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ("tests.connectors.nowhere:Probe", "ModuleNotFoundError"),
        ("tests.connectors.probes:Nothing", "AttributeError"),
        ("tests.connectors.probes:NotAService", "is not a subclass of bridge.services.Service"),
        ("tests.connectors.probes:Unwilling", "RuntimeError: no licence"),
    ],
)
async def test_a_service_that_cannot_be_started_refuses_sessions(service: str, reason: str) -> None:
    """The connector starts, open_session is refused as service-unavailable with the reason, now and again."""
    async with LocalConnector(settings=_settings(service)) as connector:
        for _ in range(2):
            with pytest.raises(SessionRefusedError, match=reason) as refused:
                await Grid(connector).open()

            assert refused.value.code == "service-unavailable"


async def test_processes_that_cannot_be_replaced_fail_the_waiting_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the only process died and none will start, tasks fail as service-unavailable after start_attempts starts, with pauses between."""
    file = tmp_path / "starts"
    monkeypatch.setenv("FRAGILE_FILE", str(file))
    async with LocalConnector(settings=_settings("tests.connectors.probes:Fragile", start_attempts=2)) as connector:
        session = await Grid(connector).open()
        await session.submit([GridTask(task_id(number), b"xyz") for number in range(5)])
        outcomes = await Inbox(session).take(5)

        assert {one.exception and one.exception.code for one in outcomes} == {"service-unavailable"}
        assert len(file.read_text().splitlines()) <= 4


async def test_closing_leaves_no_process(tmp_path: Path) -> None:
    """After aclose no worker process is left, neither an idle nor a hanging one; a second aclose does nothing."""
    connector = LocalConnector(settings=_settings(processes=2))
    async with connector:
        session = await Grid(connector).open()
        await eventually(lambda: len(_pids(connector)) == 2, within=10)
        pids = _pids(connector)
        await session.submit([order(1, "hang", pids=str(tmp_path / "pids"))])
        await eventually((tmp_path / "pids").exists, within=10)
    await connector.aclose()

    assert [pid for pid in pids if _alive(pid)] == []
    with pytest.raises(ConnectorError):
        await Grid(connector).open()


@pytest.mark.parametrize("in_c", [False, True])
async def test_worker_processes_die_with_a_killed_bridge(tmp_path: Path, *, in_c: bool) -> None:
    """When the bridge is killed its worker processes end too, even while a service hangs, in Python or in C with the lock held."""
    program = textwrap.dedent(
        f"""
        import asyncio, sys
        from bridge.connectors.local.connector import LocalConnector
        from tests.connectors.grids import Grid, order
        from tests.connectors.test_local import _settings

        async def main():
            async with LocalConnector(settings=_settings()) as connector:
                session = await Grid(connector).open()
                await session.submit([order(1, "hang", pids={str(tmp_path / "pids")!r}, in_c={in_c})])
                await asyncio.sleep(60)

        asyncio.run(main())
        """
    )
    bridge = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=Path(__file__).parents[2])
    try:
        await eventually(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text(), within=15)
        pid = int((tmp_path / "pids").read_text())
        alive_before = _alive(pid)
    finally:
        bridge.send_signal(signal.SIGKILL)
        await bridge.wait()

    assert alive_before
    await eventually(lambda: not _alive(pid), within=5)


async def test_entering_that_hangs_is_ended(tmp_path: Path) -> None:
    """A session_enter past session_enter_timeout is ended, tried again up to the limit, and then fails the session's tasks."""
    profile = ApplicationProfile(
        name="diary",
        service="tests.connectors.probes:Diary",
        session_enter_timeout=0.2,
        session_types=(SessionType(name="default", session_retry_limit=1),),
    )
    async with LocalConnector(settings=LocalSettings(applications=(profile,), processes=1)) as connector:
        session = await Grid(connector).open("diary", common_data=f"{tmp_path / 'diary'} x hang".encode())
        await session.submit([order(1, "-"), order(2, "-")])
        outcomes = await Inbox(session).take(2)

        assert [one.exception and one.exception.code for one in outcomes] == 2 * ["session-enter-failed"]
        assert (tmp_path / "diary").read_text().count("enter x") == 2


def test_runs_on_uvloop() -> None:
    """The bridge's event loop in production serves as well, for success and for lost processes."""

    async def run() -> list[Outcome]:
        async with LocalConnector(settings=_settings()) as connector:
            session = await Grid(connector).open()
            await session.submit([order(1, "echo", data=b"x" * 300_000), order(2, "vanish", code=4)])
            return await Inbox(session).take(2)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(run())

    assert [one.exception and one.exception.message for one in outcomes] == [None, "the service's process ended in the run: exit code 4"]


async def test_everything_at_once_leaves_one_outcome_for_each_task() -> None:
    """Whatever is cancelled, held, updated, prioritised or killed in between, each task has exactly one outcome in the end."""
    random = Random(20_261)  # noqa: S311 (the same troubles in each run)
    async with LocalConnector(settings=_settings(processes=2, waiting_tasks=200)) as connector:
        grid = Grid(connector)
        sessions = [await grid.open(priority=random.randint(1, 10_000)) for _ in range(4)]
        inboxes = [Inbox(session) for session in sessions]
        async with asyncio.TaskGroup() as group:
            takers = [group.create_task(inbox.take(1500, within=30)) for inbox in inboxes]
            for start in range(0, 1500, 30):
                for session in sessions:
                    assert isinstance(session, LocalSession)
                    await _trouble(session, connector, random, start)
                    await session.submit([_random_task(number, random) for number in range(start, start + 30)])

        for taker in takers:
            assert {one.task_id for one in taker.result()} == {task_id(number) for number in range(1500)}
            assert {one.exception and one.exception.code for one in taker.result()} <= {None, "cancelled", "service-exception", "service-exited"}
        for session, inbox in zip(sessions, inboxes, strict=True):
            await session.close(destroy=False)
            assert await inbox.rest() == []


def _random_task(number: int, random: Random) -> GridTask:
    if random.random() < 0.02:
        return order(number, "sleep", seconds=random.choice([0.003, 0.1]))
    if random.random() < 0.01:
        return order(number, random.choice(["failure", "vanish", "bug"]), code=1)
    return order(number, "echo", priority=random.choice([None, None, 1, 500]))


async def _trouble(session: LocalSession, connector: LocalConnector, random: Random, start: int) -> None:
    match random.randrange(8):
        case 0:
            await session.cancel([task_id(random.randrange(start + 1)) for _ in range(10)])
        case 1:
            await session.suspend()
            await asyncio.sleep(0)
            await session.resume()
        case 2:
            await session.update(random.randbytes(10))
        case 3:
            await session.prioritise(random.randint(1, 10_000))
        case 4 if start % 300 == 0 and (pids := _pids(connector)):
            with suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)


async def test_a_process_killed_between_tasks_costs_nothing() -> None:
    """An idle process that is killed is replaced, and no task counts a failed run for it."""
    async with LocalConnector(settings=_settings()) as connector:
        session = await Grid(connector).open()
        inbox = Inbox(session)
        before = _pids(connector)
        os.kill(before[0], signal.SIGKILL)
        await session.submit([order(number, "echo") for number in range(10)])
        outcomes = await inbox.take(10)

        assert Counter(one.exception for one in outcomes) == {None: 10}
        assert _pids(connector) != before


async def test_tasks_wait_for_a_new_process_without_counting() -> None:
    """Bystanders of a killed process are put back in their order and count no failed run, however often it happens."""
    async with LocalConnector(settings=_settings()) as connector:
        session = await Grid(connector).open()
        inbox = Inbox(session)
        await session.submit([order(number, "echo") for number in range(100, 200)])
        await inbox.take(100)
        killers = [order(number, "vanish", code=1) for number in range(5)]
        await session.submit([*killers, *(order(number, "echo") for number in range(10, 20))])
        outcomes = await inbox.take(15)

        assert {one.task_id for one in outcomes if one.exception is not None} == {task_id(number) for number in range(5)}
        assert [one.task_id for one in outcomes if one.exception is None] == [task_id(number) for number in range(10, 20)]
