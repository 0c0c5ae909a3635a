"""A TCP proxy that misbehaves on demand: holds back one direction, cuts connections, refuses new ones."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["ChaosProxy"]

_CHUNK = 65536


class ChaosProxy:
    """Listens on a free port of 127.0.0.1 and passes bytes on to a target.

    Args:
        host: The target's host.
        port: The target's port.
    """

    def __init__(self, *, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._connections = set[asyncio.Task[None]]()
        self._answers = asyncio.Event()
        self._requests = asyncio.Event()
        self._answers.set()
        self._requests.set()
        self.refusing = False
        """Whether new connections are closed at once."""
        self.accepted = 0
        """How many connections were let in so far."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def hold_answers(self) -> None:
        """Keep back what the target sends, without losing it."""
        self._answers.clear()

    def hold_requests(self) -> None:
        """Keep back what clients send, without losing it."""
        self._requests.clear()

    def release(self) -> None:
        """Pass on everything again, what was held back first."""
        self._answers.set()
        self._requests.set()

    async def cut(self) -> None:
        """Close all connections in both directions; what was held back is lost."""
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.close()
            return
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._join(reader, writer)
        # The end of either side, and ``cut``, end both.
        except (asyncio.CancelledError, ExceptionGroup, OSError):
            return
        finally:
            writer.close()
            self._connections.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, requests, self._requests))
                group.create_task(_pass(answers, writer, self._answers))
        finally:
            requests.close()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
    while chunk := await source.read(_CHUNK):
        await gate.wait()
        sink.write(chunk)
        await sink.drain()
    raise ConnectionResetError("one side has ended")
