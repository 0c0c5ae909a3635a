"""The blocking face of a connection."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from sluiceway.aio.connection import AsyncConnection
from sluiceway.blocking.loop import LoopThread
from sluiceway.blocking.session import Session
from sluiceway.codecs import Codec, Value
from sluiceway.records import SessionCreationAttributes

__all__ = ["Connection"]


class Connection:
    """What ``Gateway.connect`` returns.

    Args:
        inner: The core's connection.
        loop: Where the core runs.
    """

    def __init__(self, inner: AsyncConnection, *, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop

    @property
    def connection_id(self) -> str:
        """The connection's id."""
        return self._inner.connection_id

    @property
    def grid(self) -> str:
        """The grid's name."""
        return self._inner.grid

    @property
    def application(self) -> str:
        """The application's name."""
        return self._inner.application

    def create_session(  # noqa: PLR0913 - Symphony's attributes, all by name
        self,
        *,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - Symphony's word
        priority: int | None = None,
        tag: str | None = None,
        common_data: Value = None,
        codec: str | Codec = "raw",
        attributes: SessionCreationAttributes | None = None,
    ) -> Session:
        """Create a session; see ``AsyncConnection.create_session``."""
        creating = self._inner.create_session(name=name, type=type, priority=priority, tag=tag, common_data=common_data, codec=codec, attributes=attributes)
        return Session(self._loop.run(creating), loop=self._loop)

    def open_session(self, session_id: str, *, cursor: str | None = None, codec: str | Codec = "raw") -> Session:
        """Open a detached session again; see ``AsyncGateway.attach``."""
        return Session(self._loop.run(self._inner.open_session(session_id, cursor=cursor, codec=codec)), loop=self._loop)

    def close(self) -> None:
        """Close the connection with its sessions, as the grid would."""
        self._loop.run(self._inner.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
