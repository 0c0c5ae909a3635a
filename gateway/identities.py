"""Opens the ids that clients bring and seals those they get; another caller's id is as unknown as a forged one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from gateway.problems import ProblemError
from gateway.security.principals import Principal
from schemas.cursors import START, Cursor, open_cursor, seal_cursor
from schemas.ids import ConnectionId, SessionId, open_connection_id, open_session_id, seal_connection_id, seal_session_id
from schemas.sealing import KeyRing, SealError

__all__ = ["Identities"]

_REMEMBERED: Final = 4096
T = TypeVar("T", ConnectionId, SessionId)


class Identities:
    """Seals and opens ids and cursors, with a bounded memory of those that come again and again.

    Args:
        ring: The key ring.
    """

    def __init__(self, *, ring: KeyRing) -> None:
        self._ring = ring
        self._connections: _Memory[ConnectionId] = _Memory(lambda text: open_connection_id(ring, text))
        self._sessions: _Memory[SessionId] = _Memory(lambda text: open_session_id(ring, text))

    def connection(self, principal: Principal, text: str) -> ConnectionId:
        """Open a connection id.

        Raises:
            ProblemError: ``unknown-connection``: forged, expired with its key, or another caller's.
        """
        value = self._connections.open(text)
        if value is None or value.principal != principal.name:
            raise ProblemError("unknown-connection")
        return value

    def session(self, principal: Principal, text: str) -> SessionId:
        """Open a session id.

        Raises:
            ProblemError: ``unknown-session``.
        """
        value = self._sessions.open(text)
        if value is None or value.principal != principal.name:
            raise ProblemError("unknown-session")
        return value

    def cursor(self, session: SessionId, text: str) -> Cursor:
        """Open a cursor; an empty one is the start.

        Raises:
            ProblemError: ``invalid-cursor``.
        """
        if not text:
            return START
        try:
            return open_cursor(self._ring, session.sid, text)
        except SealError as exc:
            raise ProblemError("invalid-cursor") from exc

    def seal_connection(self, value: ConnectionId) -> str:
        """Return a connection id as text."""
        return seal_connection_id(self._ring, value)

    def seal_session(self, value: SessionId) -> str:
        """Return a session id as text."""
        return seal_session_id(self._ring, value)

    def seal_cursor(self, session: SessionId, cursor: Cursor) -> str:
        """Return a cursor as text."""
        return seal_cursor(self._ring, session.sid, cursor)


class _Memory(Generic[T]):
    """The values of the texts opened last: opening one costs some 20 us, and a session's id comes with every request."""

    def __init__(self, read: Callable[[str], T]) -> None:
        self._read: Callable[[str], T] = read
        self._known: OrderedDict[str, T] = OrderedDict()

    def open(self, text: str) -> T | None:
        """Return the value; None when the text is none of ours."""
        value = self._known.get(text)
        if value is not None:
            self._known.move_to_end(text)
            return value
        try:
            value = self._read(text)
        except SealError:
            return None
        self._known[text] = value
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return value
