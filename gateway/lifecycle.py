"""Whether a session may be given inputs: only after its ``opened`` was seen, and not after its end (D5 of the protocol)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from broker.errors import BrokerError
from broker.journal.fold import Fold
from broker.journal.stream import last_records
from broker.link import Broker
from gateway.owners import Owners, question
from gateway.problems import ProblemError
from gateway.readers import Readers
from gateway.reading import ReaderLostError
from schemas.control import Verb
from schemas.cursors import START
from schemas.ids import SessionId
from schemas.problems import PROBLEMS
from schemas.records import RecordKind
from schemas.symphony import SessionState
from schemas.topology import ClusterTopology

__all__ = ["Lifecycle", "state_of"]

_REMEMBER_SECONDS: Final = 5.0
"""Inputs published that long after a session's end are dropped by the lane's next owner; nobody waits for them."""

_SIZE: Final = 20_000
_ASK_SECONDS: Final = 1.5
_JOURNAL_SECONDS: Final = 2.5
_LOOK_SECONDS: Final = 0.9
_ALL_SECONDS: Final = 4.5
"""Below the 5 s in which a client shall hear that something is away."""

_CODES: Final = {
    SessionState.PENDING: "session-pending",
    SessionState.CLOSED: "session-closed",
    SessionState.ABORTED: "session-aborted",
}


class _Known(msgspec.Struct, frozen=True):
    state: SessionState
    at: float
    code: str = ""
    """Of a session that was refused."""


def state_of(fold: Fold) -> SessionState:
    """Return the state that a journal tells of."""
    if fold.closed is not None:
        return SessionState.ABORTED if fold.closed.aborted else SessionState.CLOSED
    if fold.refused is not None:
        return SessionState.CLOSED
    if not fold.opened:
        return SessionState.PENDING
    return SessionState.SUSPENDED if fold.controls.suspended else SessionState.OPEN


class Lifecycle:
    """Knows the states of sessions for some seconds, and asks when it does not.

    Args:
        readers: Warm readers know it for nothing.
        owners: Owners know it best.
        broker: The journal knows it while no owner answers.
        spawn: Starts a coroutine in the process' task group.
    """

    def __init__(self, *, readers: Readers, owners: Owners, broker: Broker, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._readers = readers
        self._owners = owners
        self._broker = broker
        self._spawn = spawn
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[_Known]] = {}

    def note(self, session: SessionId, state: SessionState, code: str = "") -> None:
        """Remember what an answer or a record told."""
        self._known[session.sid] = _Known(state, asyncio.get_running_loop().time(), code)
        self._known.move_to_end(session.sid)
        if len(self._known) > _SIZE:
            self._known.popitem(last=False)

    async def require_open(self, session: SessionId) -> None:
        """Return when inputs may be published.

        Raises:
            ProblemError: ``session-pending``, ``session-closed``, ``session-aborted``, or why the session was refused.
            BrokerError: Nobody can tell at the moment.
        """
        known = self._fresh(session) or await self._ask_once(session)
        if known.code:
            raise ProblemError(known.code)
        code = _CODES.get(known.state)
        if code is not None:
            raise ProblemError(code)

    async def require_known(self, session: SessionId) -> None:
        """Return unless the journal says that the session has ended; used when no owner answers.

        Raises:
            ProblemError: ``session-closed``, or why it was refused.
            BrokerError: Nobody can tell at the moment.
        """
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                known = await self._ask_journal(session)
        except TimeoutError as exc:
            raise ProblemError("owner-unavailable") from exc
        if known.code or known.state in {SessionState.CLOSED, SessionState.ABORTED}:
            raise ProblemError(known.code or _CODES[known.state])

    def _fresh(self, session: SessionId) -> _Known | None:
        known = self._known.get(session.sid)
        now = asyncio.get_running_loop().time()
        if known is not None and (known.state in {SessionState.CLOSED, SessionState.ABORTED} or now - known.at < _REMEMBER_SECONDS):
            return known if known.state is not SessionState.PENDING else None
        for reader in self._readers.of(session):
            if reader.fold.opened or reader.fold.ended:
                return self._from_fold(session, reader.fold)
        return None

    def _from_fold(self, session: SessionId, fold: Fold) -> _Known:
        code = "" if fold.refused is None else fold.refused.code if fold.refused.code in PROBLEMS else "session-refused"
        self.note(session, state_of(fold), code)
        return self._known[session.sid]

    async def _ask_once(self, session: SessionId) -> _Known:
        """Many submissions of one session ask together."""
        asking = self._asking.get(session.sid)
        if asking is None:
            asking = self._asking[session.sid] = asyncio.get_running_loop().create_future()
            self._spawn(self._ask_into(session, asking))
        try:
            async with asyncio.timeout(_ALL_SECONDS):
                return await asyncio.shield(asking)
        except TimeoutError as exc:
            raise ProblemError("owner-unavailable") from exc

    async def _ask_into(self, session: SessionId, asking: asyncio.Future[_Known]) -> None:
        try:
            asking.set_result(await self._ask(session))
        except (ProblemError, BrokerError) as exc:
            asking.set_exception(exc)
            # Asked for once, so that asyncio does not complain when no request is left that waits for it.
            asking.exception()
        finally:
            del self._asking[session.sid]
            asking.cancel()

    async def _ask(self, session: SessionId) -> _Known:
        try:
            summary = await self._owners.ask(session, question(Verb.STATUS), within=_ASK_SECONDS)
        except ProblemError as exc:
            if exc.code != "owner-unavailable":
                raise
            return await self._ask_journal(session)
        if summary is None:
            return await self._ask_journal(session)
        self.note(session, SessionState(summary.state))
        return self._known[session.sid]

    async def _ask_journal(self, session: SessionId) -> _Known:
        """No owner answers, as during a takeover: the journal's end tells of a close, its beginning of the opening."""
        queue = ClusterTopology(cluster=session.cluster).lane_journal(session.lane).name
        tail = await last_records(self._broker, queue, within=_JOURNAL_SECONDS)
        mine = [record for record in tail if record.headers.get("sid") == session.sid.hex()]
        if any(record.headers.get("kind") == RecordKind.CLOSED for record in mine):
            self.note(session, SessionState.CLOSED)
            return self._known[session.sid]
        try:
            async with asyncio.timeout(_JOURNAL_SECONDS), self._readers.reading(session, START) as (reader, _):
                while not reader.fold.opened and not reader.fold.ended:
                    await reader.change.wait()
                return self._from_fold(session, reader.fold)
        except TimeoutError:
            return _Known(SessionState.PENDING, 0.0)
        except ReaderLostError as exc:
            raise ProblemError("broker-unavailable") from exc
