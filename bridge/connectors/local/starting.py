"""Starts worker processes."""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from bridge.connectors.local.failing import describe_exit
from bridge.connectors.local.frames import PAGE_BYTES, Results, Start
from bridge.connectors.local.process import WorkerProcess

__all__ = ["StartError", "start_worker"]


class StartError(Exception):
    """A worker process did not get ready; the text says why."""


async def start_worker(start: Start, *, within: float, on_results: Callable[[WorkerProcess, Results], None]) -> WorkerProcess:
    """Start a worker process and wait until its service is created.

    Args:
        start: What it is to be.
        within: Seconds to wait for it.
        on_results: Called for each frame of answers.

    Raises:
        StartError: It did not get ready; nothing of it is left.
    """
    descriptor = os.memfd_create("sluiceway-progress")
    ours, theirs = socket.socketpair()
    try:
        os.ftruncate(descriptor, PAGE_BYTES)
        worker = WorkerProcess(page=memoryview(mmap.mmap(descriptor, PAGE_BYTES)).cast("Q"), on_results=on_results)
        ours.settimeout(0)
        worker.adopt(await _spawn(theirs.fileno(), descriptor))
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(descriptor)
    try:
        await asyncio.get_running_loop().create_unix_connection(lambda: worker, sock=ours)
        worker.begin(start)
        await _get_ready(worker, within)
    except BaseException:
        worker.kill()
        await worker.ended()
        raise
    return worker


async def _spawn(connection: int, page: int) -> asyncio.subprocess.Process:
    """Start the interpreter. A session of its own keeps a terminal's interrupt away and lets the whole group be ended."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge.connectors.local.worker",
        str(connection),
        str(page),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=2,
        env=_environment(),
        pass_fds=(connection, page),
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    """The bridge's own, with the folder of these rooms added, so that a checkout works without being installed."""
    root = str(Path(__file__).parents[3])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


async def _get_ready(worker: WorkerProcess, within: float) -> None:
    """Wait for the first frame.

    Raises:
        StartError: The service could not be created, the process ended, or it took too long.
    """
    ended = asyncio.ensure_future(worker.ended())
    try:
        await asyncio.wait((worker.ready, ended), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if worker.ready.done():
            problem = worker.ready.result()
        elif ended.done():
            problem = f"the process ended: {describe_exit(ended.result())}"
        else:
            problem = f"not ready within {within:g} s"
    finally:
        ended.cancel()
    if problem is not None:
        raise StartError(problem)
