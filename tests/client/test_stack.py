"""The client against the real thing: RabbitMQ, two gateways, two bridges and a local grid, all processes of one stack."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sluiceway import AsyncGateway, Gateway, GatewayOptions, GridExecutor, NotFoundError, SessionClosedError, TaskCancelled, TaskFailed, TaskInput
from sluiceway.packing import pack
from sluiceway.stack import Stack, StackError, StackPlan
from sluiceway.stack.guard import born
from tests.support.eventually import eventually_blocking

pytestmark = [pytest.mark.broker, pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with the ping service."""
    with Stack(StackPlan(directory=tmp_path_factory.mktemp("stack"), amqp_url=os.environ.get("AMQP_URL"))) as running:
        yield running


@pytest.fixture(autouse=True)
def all_running(stack: Stack) -> Iterator[None]:
    """Bring back what a test has killed."""
    yield
    for program in stack.programs:
        if not program.running:
            program.start()
            program.wait_ready(60)


@pytest.fixture
async def gateway(stack: Stack) -> AsyncIterator[AsyncGateway]:
    """A client that begins with the first gateway."""
    options = GatewayOptions(token_file=stack.token_file, ca_file=stack.ca_file, spread=False, proxy="")
    async with AsyncGateway(stack.urls, options=options) as gateway:
        yield gateway


def _sleep(milliseconds: float) -> bytes:
    return b"ping\x00" + pack({"sleep_ms": milliseconds, "output_bytes": 4})


async def test_map_survives_a_killed_gateway_and_a_killed_bridge(gateway: AsyncGateway, stack: Stack) -> None:
    """With the gateway in use and the session's bridge killed half way, every output comes once, in order, and nothing is lost."""
    connection = await gateway.connect(grid=stack.grid, application="ping")
    async with await connection.create_session(name="survivor") as session:
        results = []
        async for one in session.map((b"%d" % number for number in range(4000)), window=500):
            results.append(one)
            if len(results) == 1500:
                await asyncio.to_thread(stack.gateways[0].kill)
            if len(results) == 2500:
                # Which of the two owns the session is theirs to decide: one of these kills hits the owner.
                owner = (await session.status()).owner
                index = next(place for place, bridge in enumerate(stack.bridges) if f"-{bridge.pid}-" in owner)
                await asyncio.to_thread(stack.bridges[index].kill)
        assert results == [b"%d" % number for number in range(4000)]
        assert gateway.address == stack.urls[1]
        counts = (await session.status()).tasks
        assert (counts.received, counts.done) == (4000, 4000)


async def test_bulk_and_outputs(gateway: AsyncGateway, stack: Stack) -> None:
    """Ids of a bulk submission and task ids of outputs are the same set; a repeated submission under one key runs nothing twice."""
    connection = await gateway.connect(grid=stack.grid, application="ping")
    async with await connection.create_session() as session:
        inputs = [TaskInput(value=b"%d" % number, tag="odd" if number % 2 else "even") for number in range(3000)]
        ids = await session.send(inputs, key="bulk-1")
        assert await session.send(inputs, key="bulk-1") == ids
        outputs = [one async for one in session.outputs(count=3000)]
        assert {one.task_id for one in outputs} == set(ids)
        assert {one.tag for one in outputs} == {"odd", "even"}
        assert await session.next_outputs(wait=0.5) == []
        assert await session.output(ids[7]) == b"7"
        with pytest.raises(NotFoundError):
            await session.output("A" * 32)


async def test_failures_and_cancellation(gateway: AsyncGateway, stack: Stack) -> None:
    """A service's exception arrives as Symphony's, and a task taken back ends as cancelled."""
    connection = await gateway.connect(grid=stack.grid, application="ping")
    async with await connection.create_session() as session:
        with pytest.raises(TaskFailed) as caught:
            await session.submit(b"ping\x00" + pack({"fail": "no price"}))
        assert caught.value.exception.embedded is not None
        assert (caught.value.exception.embedded.message, caught.value.exception.embedded.error_code) == ("no price", 2)
        ids = await session.send([_sleep(100.0)] * 40)
        assert await session.cancel(ids[20:]) == 20
        outputs = {one.task_id: one async for one in session.outputs(count=40)}
        assert isinstance(outputs[ids[39]].error, TaskCancelled)
        assert outputs[ids[0]].successful
    with pytest.raises(SessionClosedError):
        await session.send([b"late"])


async def test_detached_work_is_found_again(gateway: AsyncGateway, stack: Stack) -> None:
    """A detached session goes on, is listed, and gives its outputs to whoever attaches."""
    connection = await gateway.connect(grid=stack.grid, application="ping")
    session = await connection.create_session(name="left alone")
    ids = await session.send([b"a", b"b", b"c"])
    await session.close(detach=True)
    assert "left alone" in {one.name for one in await gateway.sessions()}
    async with await gateway.attach(session.session_id) as again:
        assert [await one for one in again.reattach(ids).values()] == [b"a", b"b", b"c"]


async def test_the_blocking_face(stack: Stack) -> None:
    """Futures of an executor work against the real stack too."""

    def work() -> list[bytes]:
        with (
            Gateway(stack.urls, token_file=stack.token_file, ca_file=stack.ca_file) as gateway,
            gateway.connect(grid=stack.grid, application="ping").create_session() as session,
            GridExecutor(session) as executor,
        ):
            return list(executor.map([b"%d" % number for number in range(500)]))

    assert await asyncio.to_thread(work) == [b"%d" % number for number in range(500)]


def test_ping_against_the_stack(stack: Stack) -> None:
    """The program finds the stack by its folder and reports."""
    program = [sys.executable, "-m", "sluiceway", "ping", "-n", "300", "--json"]
    state = json.loads((stack.directory / "client.json").read_text())
    environment = {**os.environ, "SLUICEWAY_GATEWAYS": " ".join(state["gateways"]), "SLUICEWAY_TOKEN_FILE": state["token_file"]}
    environment |= {"SLUICEWAY_CA_FILE": state["ca_file"], "SLUICEWAY_GRID": state["grid"]}
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=60, env=environment)
    report = json.loads(done.stdout)
    assert (done.returncode, report["tasks"], report["failed"]) == (0, 300, 0)


def test_a_second_stack_in_the_same_folder_is_refused(stack: Stack) -> None:
    """The folder is locked, and the one who is refused leaves the running stack alone."""
    with pytest.raises(StackError, match="runs already"):
        Stack(StackPlan(directory=stack.directory)).start()
    stack.check()


def _children(folder: Path) -> list[int]:
    """Return the processes that were started with a file of this folder, or in its name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line and born(int(entry.name)):
                found.append(int(entry.name))
    return found


def test_up_ends_with_ctrl_c_and_leaves_nothing_even_when_killed(tmp_path: Path) -> None:
    """'sluiceway up' serves until Ctrl-C, ends with code 0, takes its state up again, and when it is killed its guard ends everything."""
    folder = tmp_path / "site"
    command = [sys.executable, "-m", "sluiceway", "up", "--dir", str(folder), "--gateways", "1", "--bridges", "1", "--lanes", "4"]
    token = b""
    for number, code in ((signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)):
        with (tmp_path / "out").open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True) as process:
            eventually_blocking(lambda: "Ctrl-C stops everything" in (tmp_path / "out").read_text() or process.poll() is not None, within=90)
            assert process.poll() is None, (tmp_path / "out").read_text()
            assert token in {b"", (folder / "token").read_bytes()}
            token = (folder / "token").read_bytes()
            assert len(_children(folder)) >= 3
            process.send_signal(number)
            assert process.wait(60) == code
        eventually_blocking(lambda: not _children(folder), within=60)
    assert "bridge stopped" in (folder / "logs" / "bridge-1.log").read_text()
