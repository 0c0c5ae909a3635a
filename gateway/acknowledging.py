"""Tells owners what clients have: repeated until a record shows it, at most five times a second for a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from broker.control import ControlBus
from broker.errors import BrokerError
from gateway.presence import Presence
from gateway.reading import Reader
from schemas.control import Acknowledge, Doubt, cluster_key, worker_key
from schemas.cursors import Cursor
from schemas.ids import SessionId

__all__ = ["Acknowledger"]

_PAUSE: Final = 0.2
_REPEAT: Final = 2.0
_REPEATS: Final = 15
_TOUCH_SECONDS: Final = 20.0


class _Wanted:
    """The acknowledgement of one session that its journal does not show yet."""

    __slots__ = ("cursor", "left", "reader", "sent_at", "timer")

    def __init__(self, reader: Reader, cursor: Cursor) -> None:
        self.reader = reader
        self.cursor = cursor
        self.sent_at = 0.0
        self.left = _REPEATS
        self.timer: asyncio.TimerHandle | None = None


class Acknowledger:
    """Sends acknowledgements.

    Args:
        bus: The control exchange.
        presence: Knows owners.
        spawn: Starts a coroutine in the process' task group.
    """

    def __init__(self, *, bus: ControlBus, presence: Presence, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._bus = bus
        self._presence = presence
        self._spawn = spawn
        self._wanted: dict[bytes, _Wanted] = {}

    def note(self, reader: Reader, cursor: Cursor) -> None:
        """A client came with this cursor: it has everything before it."""
        sid = reader.session.sid
        if _shown(reader, cursor):
            self._touch(reader, cursor)
            return
        wanted = self._wanted.get(sid)
        if wanted is None:
            wanted = self._wanted[sid] = _Wanted(reader, cursor)
        wanted.reader, wanted.cursor, wanted.left = reader, cursor, _REPEATS
        due = wanted.sent_at + _PAUSE - asyncio.get_running_loop().time()
        if due <= 0:
            self._send(sid, wanted)
        else:
            self._later(sid, wanted, due)

    def _touch(self, reader: Reader, cursor: Cursor) -> None:
        """A client that only waits says nothing new, but its session must not look like one that nobody uses."""
        now = asyncio.get_running_loop().time()
        if now - reader.touched_at < _TOUCH_SECONDS:
            return
        reader.touched_at = now
        message = Acknowledge(sid=reader.session.sid, num=cursor.num, nonce=cursor.nonce, next=cursor.next, at=cursor.at)
        self._spawn(self._publish(reader.session, message, reader.fold.worker))

    def tell_ahead(self, session: SessionId, cursor: Cursor) -> None:
        """A cursor is of an epoch that the journal does not have: the owner has to begin a higher one (L4)."""
        self._spawn(self._publish(session, Acknowledge(sid=session.sid, num=cursor.num, nonce=cursor.nonce, next=cursor.next), ""))

    def tell_doubt(self, reader: Reader) -> None:
        """A reader is stuck at a gap: the owner should read its journal."""
        self._spawn(self._publish(reader.session, Doubt(sid=reader.session.sid), reader.fold.worker))

    def close(self) -> None:
        """Stop repeating."""
        for wanted in self._wanted.values():
            if wanted.timer is not None:
                wanted.timer.cancel()
        self._wanted.clear()

    def _later(self, sid: bytes, wanted: _Wanted, seconds: float) -> None:
        if wanted.timer is not None:
            wanted.timer.cancel()
        wanted.timer = asyncio.get_running_loop().call_later(seconds, self._again, sid, wanted)

    def _again(self, sid: bytes, wanted: _Wanted) -> None:
        wanted.timer = None
        if wanted.left <= 0 or wanted.reader.failure is not None or _shown(wanted.reader, wanted.cursor):
            if self._wanted.get(sid) is wanted:
                del self._wanted[sid]
            return
        self._send(sid, wanted)

    def _send(self, sid: bytes, wanted: _Wanted) -> None:
        wanted.sent_at = asyncio.get_running_loop().time()
        wanted.left -= 1
        cursor = wanted.cursor
        message = Acknowledge(sid=sid, num=cursor.num, nonce=cursor.nonce, next=cursor.next, at=cursor.at)
        self._spawn(self._publish(wanted.reader.session, message, wanted.reader.fold.worker))
        self._later(sid, wanted, _REPEAT)

    async def _publish(self, session: SessionId, message: Acknowledge | Doubt, writer: str) -> None:
        """Send to the owner, as its heartbeats or else its records name it, or else to all; a loss is made good by the next repetition."""
        worker = self._presence.owner(session.sid) or writer
        key = worker_key(session.cluster, worker) if worker else cluster_key(session.cluster)
        with suppress(BrokerError):
            await self._bus.send(key, message)


def _shown(reader: Reader, cursor: Cursor) -> bool:
    return cursor.next <= 1 or reader.fold.acked >= cursor.next
