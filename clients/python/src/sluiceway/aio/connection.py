"""A connection to one application of a grid: sessions are created in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from types import TracebackType
from typing import Self

from sluiceway.aio.calls import ask, segment
from sluiceway.aio.opening import SessionPlan, open_session
from sluiceway.aio.session import AsyncSession
from sluiceway.codecs import Codec, Value
from sluiceway.http.transport import Transport, post
from sluiceway.records import CloseRequest, ConnectAnswer, CreateSessionRequest, SessionAnswer, SessionCreationAttributes

__all__ = ["AsyncConnection"]


class AsyncConnection:
    """What ``AsyncGateway.connect`` returns. It need not be closed: ``close`` also closes its sessions, as the grid would.

    Args:
        answer: What the gateway said.
        transport: Carries the calls.
        plan: Tells for a codec what its session objects get.
    """

    def __init__(self, answer: ConnectAnswer, *, transport: Transport, plan: Callable[[str | Codec], SessionPlan]) -> None:
        self._answer = answer
        self._transport = transport
        self._plan = plan
        self._path = f"/v1/connections/{segment(answer.connection_id)}"

    @property
    def connection_id(self) -> str:
        """The connection's id."""
        return self._answer.connection_id

    @property
    def grid(self) -> str:
        """The grid's name."""
        return self._answer.grid

    @property
    def application(self) -> str:
        """The application's name."""
        return self._answer.application_name

    async def create_session(  # noqa: PLR0913 - Symphony's attributes, all by name
        self,
        *,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - Symphony's word
        priority: int | None = None,
        tag: str | None = None,
        common_data: Value = None,
        codec: str | Codec = "raw",
        attributes: SessionCreationAttributes | None = None,
    ) -> AsyncSession:
        """Create a session (Symphony's ``createSession``); what is left out takes the application profile's default.

        Args:
            name: Free text.
            type: A session type of the application profile.
            priority: 1 to 10000, 10000 first.
            tag: Up to 128 letters, digits, ``-`` and ``_``; operators search for it.
            common_data: A value that every service instance gets with the session, encoded by the codec.
            codec: ``raw`` (bytes stay bytes), ``json``, ``msgpack``, or a codec of your own.
            attributes: Symphony's other attributes; the arguments above go before it.

        Raises:
            InvalidRequestError: An attribute is wrong, or the grid refused the session.
            UnavailableError: The grid stayed down, or without a free lane.
        """
        plan = self._plan(codec)
        common = None if common_data is None else plan.codec.encode(common_data)
        wanted = _request(attributes or SessionCreationAttributes(), name=name, type=type, priority=priority, tag=tag, common_data=common)
        answer = await ask(self._transport, post(f"{self._path}/sessions", wanted), SessionAnswer.read)
        session = plan.build(answer)
        if answer.state == "pending":
            await session.opened()
        return session

    async def open_session(self, session_id: str, *, cursor: str | None = None, codec: str | Codec = "raw") -> AsyncSession:
        """Open a detached session again (Symphony's ``openSession``); see ``AsyncGateway.attach``."""
        return await open_session(self._path, session_id, cursor=cursor, plan=self._plan(codec))

    async def close(self) -> None:
        """Close the connection with its sessions, as the grid would."""
        await self._transport.call(post(f"{self._path}/close", CloseRequest()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


def _request(attributes: SessionCreationAttributes, **named: Value) -> CreateSessionRequest:
    """Return the attributes with what was named beside them laid over."""
    given = {one.name: getattr(attributes, one.name) for one in fields(attributes)}
    return CreateSessionRequest(**{**given, **{name: value for name, value in named.items() if value is not None}})
