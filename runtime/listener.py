"""Runs an ASGI application inside a process that has other work and its own treatment of signals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import uvicorn
from typing_extensions import override

__all__ = ["ListenError", "Listener", "bind"]

_BACKLOG: Final = 2048


class ListenError(Exception):
    """Raised when an address cannot be listened on, or the application refuses to start."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process drains in its own order."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.start_over = asyncio.Event()
        """Set once the start has succeeded or failed."""

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to exit."""
        try:
            await super().serve(sockets)
        finally:
            self.start_over.set()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the listener and say so."""
        await super().startup(sockets)
        self.start_over.set()

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to ``host`` and ``port`` (0: any free one).

    Raises:
        ListenError: The address is taken or is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise ListenError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError as exc:
        bound.close()
        raise ListenError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    return bound


class Listener:
    """One uvicorn server as an async context manager: inside the block it answers, at its end it has drained.

    Args:
        config: uvicorn's configuration; its host and port are not used.
        bound: The socket to listen on, from ``bind``.
    """

    def __init__(self, *, config: uvicorn.Config, bound: socket.socket) -> None:
        self._server = _Server(config)
        self._socket = bound
        self.port: Final[int] = bound.getsockname()[1]
        """The port, also when any free one was asked for."""
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start to answer.

        Raises:
            ListenError: The application or the TLS files refuse to start.
        """
        self._serving = asyncio.create_task(self._serve(), name=f"listener on port {self.port}")
        try:
            await self._server.start_over.wait()
        except asyncio.CancelledError:
            self._serving.cancel()
            raise
        if not self._server.started:
            await self._serving
            raise ListenError("the application ended before it was ready")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop to accept, let requests end within uvicorn's ``timeout_graceful_shutdown``, then close."""
        self.stop_accepting()
        await self.wait_closed()

    def stop_accepting(self) -> None:
        """Begin the drain: no new connections, and idle ones are closed."""
        self._server.should_exit = True

    async def wait_closed(self) -> None:
        """Return when the last request has been answered or cut off, or the server has failed.

        Raises:
            ListenError: The server ended by itself with a failure.
        """
        if self._serving is not None:
            await self._serving

    async def _serve(self) -> None:
        try:
            await self._server.serve(sockets=[self._socket])
        # uvicorn leaves a failed start by SystemExit, which would take the whole process along without a word.
        except SystemExit as exc:
            raise ListenError("the application refused to start") from exc
        finally:
            self._socket.close()
