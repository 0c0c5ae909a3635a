"""Turns SIGTERM and SIGINT into an event that a process waits for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["stop_on_signals"]


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[asyncio.Event]:
    """Hand out an event that SIGTERM or SIGINT sets; the former treatment of both returns with the end of the block.

    A second SIGINT ends the process at once, for the person who presses Ctrl-C again. A second SIGTERM does nothing: process
    managers repeat it while a drain is under way.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def interrupt() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        for number, treatment in former.items():
            loop.remove_signal_handler(number)
            signal.signal(number, treatment)
