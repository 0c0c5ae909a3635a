"""Signals become an event, and their former treatment returns."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from runtime.signals import stop_on_signals

PROGRAM = """
import asyncio
from runtime.signals import stop_on_signals

async def main():
    async with stop_on_signals() as stop:
        print("ready", flush=True)
        await stop.wait()
        print("draining", flush=True)
        await asyncio.sleep(30)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    """SIGTERM and SIGINT set the event instead of ending the process, and afterwards mean what they meant before."""
    former = signal.getsignal(number)

    async with asyncio.timeout(5), stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        await stop.wait()

    assert signal.getsignal(number) == former


@pytest.mark.processes
def test_a_second_interrupt_ends_a_drain() -> None:
    """SIGTERM may be repeated during a drain without harm; a second SIGINT ends the process at once."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "draining\n"
        process.send_signal(signal.SIGTERM)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)

        assert process.wait(5) == -signal.SIGINT
