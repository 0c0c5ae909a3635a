"""A private node: an ordinary process that leaves nothing behind and takes its folder up again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from broker.link import Broker
from broker.node import NodeError, PrivateNode
from runtime.settings import BrokerSettings
from tests.support.eventually import eventually

pytestmark = [pytest.mark.broker, pytest.mark.processes]


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes whose home is that folder, as the node's and its helpers' is."""
    found = list[str]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"HOME={folder}".encode() in environment.split(b"\0") and line:
            found.append(line.decode().replace("\0", " ")[:80])
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_stopped_node_leaves_nothing_running_and_keeps_its_data(tmp_path: Path) -> None:
    """After a clean stop no process is left, not even epmd; the next start on the folder finds the queues and the same password."""
    for attempt in range(2):
        async with PrivateNode(directory=tmp_path) as node, Broker(settings=node.broker_settings, name="tests") as broker:
            await broker.wait_ready(10)
            channel = await broker.consuming.channel(within=5)
            answer = await channel.queue_declare("kept", durable=True, passive=attempt == 1, arguments={"x-queue-type": "quorum"})
            assert answer.queue == "kept"
            assert processes_of(tmp_path)
            assert (node.password_file.stat().st_mode & 0o777) == 0o600

        assert processes_of(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_command_runs_until_it_is_told_to_stop_and_cleans_up_after_a_killed_one(tmp_path: Path) -> None:
    """``python -m broker node`` says when it is ready; what a killed one left running is ended by the next; SIGTERM stops both."""
    killed = await _run_command(tmp_path)
    await _ready(killed)
    os.kill(killed.pid, signal.SIGKILL)
    await killed.wait()
    assert processes_of(tmp_path), "the node should have outlived its supervisor"

    command = await _run_command(tmp_path)
    ready = await _ready(command)
    settings = BrokerSettings(urls=(str(ready["url"]),), password_file=Path(str(ready["password_file"])))
    async with Broker(settings=settings, name="tests") as broker:
        await broker.wait_ready(10)
    command.send_signal(signal.SIGTERM)

    assert await asyncio.wait_for(command.wait(), 20) == 0
    await eventually(lambda: processes_of(tmp_path) == [], within=5)


async def test_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A node with a setting that RabbitMQ refuses fails with what it said, and leaves nothing running."""
    with pytest.raises(NodeError, match="heartbeat"):
        await PrivateNode(directory=tmp_path, settings={"heartbeat": "nonsense"}).start()

    assert processes_of(tmp_path) == []


async def _run_command(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "broker", "node", "--dir", str(folder), stdout=asyncio.subprocess.PIPE)


async def _ready(command: asyncio.subprocess.Process) -> dict[str, object]:
    assert command.stdout is not None
    line = await asyncio.wait_for(command.stdout.readline(), 30)
    ready: dict[str, object] = json.loads(line)
    assert ready["event"] == "node ready"
    return ready
