"""Programs of the benchmark as processes: a spec goes in, a word says they are ready, a result comes out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

__all__ = ["Gate", "Program", "ProgramError", "end", "perform"]

S = TypeVar("S", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)

_READY: Final = b"ready\n"
_GO: Final = b"go\n"
_READY_WITHIN: Final = 120.0
_END_WITHIN: Final = 10.0
_LINE_BYTES: Final = 64 * 1024 * 1024
_ROOT: Final = Path(__file__).parent.parent


class ProgramError(Exception):
    """Raised when a program of the benchmark ends without a result."""


class Gate:
    """What a program waits at when it is ready, so that several can begin together."""

    def pass_through(self) -> None:
        """Say that all is ready and return when the word to go comes.

        Raises:
            EOFError: The benchmark ended in the meantime.
        """
        sys.stdout.buffer.write(_READY)
        sys.stdout.buffer.flush()
        if sys.stdin.buffer.readline() != _GO:
            raise EOFError("the benchmark went away")


def perform(kind: type[S], work: Callable[[S, Gate], msgspec.Struct]) -> None:
    """Run a program: read its spec from standard input, do the work, print the result."""
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=kind)
    result = work(spec, Gate())
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    sys.stdout.buffer.flush()


class Program:
    """One program, inside a block; leaving the block ends it.

    Args:
        module: What ``python -m`` is given.
        spec: Goes to its standard input.
        log: Where its standard error goes.
    """

    def __init__(self, *, module: str, spec: msgspec.Struct, log: Path) -> None:
        self._module = module
        self._spec = spec
        self._log = log
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            log = stack.enter_context(await asyncio.to_thread(self._log.open, "ab"))
            # A process group of its own: worker processes of peers end with it.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, stdin=PIPE, stdout=PIPE, stderr=log, cwd=_ROOT, start_new_session=True, limit=_LINE_BYTES
            )
        try:
            await self._say(msgspec.json.encode(self._spec) + b"\n")
            async with asyncio.timeout(_READY_WITHIN):
                await self._expect_ready()
        except BaseException:
            await end(self._process)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await end(self._running)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._running.pid

    async def go(self) -> None:
        """Let it begin, or end, what it does."""
        await self._say(_GO)

    async def result(self, kind: type[R]) -> R:
        """Wait for what it measured.

        Raises:
            ProgramError: It ended without a result.
        """
        line = await self._output()
        if not line:
            raise await self._failure()
        return msgspec.json.decode(line, type=kind)

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise ProgramError(f"{self._module} was not started")
        return self._process

    async def _say(self, line: bytes) -> None:
        pipe = self._running.stdin
        if pipe is not None:
            pipe.write(line)
            await pipe.drain()

    async def _output(self) -> bytes:
        pipe = self._running.stdout
        return b"" if pipe is None else await pipe.readline()

    async def _expect_ready(self) -> None:
        # Libraries may greet on standard output before.
        while (line := await self._output()) != _READY:
            if not line:
                raise await self._failure()

    async def _failure(self) -> ProgramError:
        status = await self._running.wait()
        text = await asyncio.to_thread(self._log.read_text, errors="replace")
        return ProgramError(f"{self._module} ended with status {status}: {text[-2000:]}")


async def end(process: Process) -> None:
    """End a process: politely, then with all of its process group."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(_END_WITHIN):
            await process.wait()
    except TimeoutError:
        pass
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
