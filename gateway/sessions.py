"""The operations that make sessions: createSession and openSession, and updateSession, which replaces common data."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from msgspec import UNSET

from gateway.call import Answer, Call
from gateway.codec import decode
from gateway.grids import Grids
from gateway.identities import Identities
from gateway.laning import Lanes, common_message
from gateway.lifecycle import Lifecycle, state_of
from gateway.media import OCTETS
from gateway.owners import Owners, question
from gateway.problems import ProblemError
from gateway.readers import Readers
from gateway.reading import ReaderLostError
from gateway.remembering import OnceMemory
from gateway.settings import Limits
from schemas.control import Verb
from schemas.cursors import START
from schemas.http import CommonDataRequest, CreateSessionRequest, OpenSessionRequest, SessionAnswer
from schemas.ids import ConnectionId, Position, SessionId, fingerprint, key_hash
from schemas.messages import Claim
from schemas.problems import PROBLEMS
from schemas.symphony import SessionCreationAttributes, SessionState, check_attributes

__all__ = ["Sessions"]

_LANE_BUSY: Final = "lane-busy"
_BUSY_ATTEMPTS: Final = 3
_FIELDS: Final = tuple(field.name for field in msgspec.structs.fields(SessionCreationAttributes))


class Sessions:
    """Makes and re-opens sessions.

    Args:
        grids: Chooses clusters.
        identities: Opens and seals ids.
        lanes: Leases lanes.
        readers: Follows a new session's journal until a worker has opened it; the reader stays warm for the first poll.
        lifecycle: Remembers states.
        owners: Reaches workers.
        limits: How long ``createSession`` waits.
        spawn: Starts a coroutine in the process' task group.
    """

    def __init__(  # noqa: PLR0913 - the collaborators of CREATE
        self,
        *,
        grids: Grids,
        identities: Identities,
        lanes: Lanes,
        readers: Readers,
        lifecycle: Lifecycle,
        owners: Owners,
        limits: Limits,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._grids = grids
        self._identities = identities
        self._lanes = lanes
        self._readers = readers
        self._lifecycle = lifecycle
        self._owners = owners
        self._limits = limits
        self._once: OnceMemory[Answer] = OnceMemory(spawn=spawn)

    async def create(self, call: Call) -> Answer:
        """Create a session: 201 when a worker has opened it, 202 when none has in time."""
        connection = self._identities.connection(call.principal, call.path["connectionId"])
        wanted = decode(call.body or b"{}", call.content_type if call.body else "application/json", CreateSessionRequest)
        flags = check_attributes(wanted)
        attributes = SessionCreationAttributes(**{name: getattr(wanted, name) for name in _FIELDS} | {"flags": UNSET if flags is UNSET else int(flags)})
        common = None if wanted.common_data is UNSET else wanted.common_data
        cluster = self._grids.choose_cluster(connection.grid, call.principal)
        key = key_hash(b"session" + connection.nonce, call.header("idempotency-key"))
        fp = fingerprint(call.content_type.encode(), call.body)
        return await self._once.once(key, fp, lambda: self._create(connection, cluster, attributes, common))

    async def open(self, call: Call) -> Answer:
        """Re-attach to a session that was detached: its owner is asked, or else its journal."""
        connection = self._identities.connection(call.principal, call.path["connectionId"])
        wanted = decode(call.body, call.content_type, OpenSessionRequest)
        session = self._identities.session(call.principal, wanted.session_id)
        if session.grid != connection.grid or session.application != connection.application:
            raise ProblemError("unknown-session", "it belongs to another application")
        await self._lifecycle.require_open(session)
        summary = await self._owners.ask(session, question(Verb.STATUS))
        return self._answer(200, session, SessionState(summary.state) if summary else SessionState.OPEN, summary.native_id if summary else "")

    async def update(self, call: Call) -> Answer:
        """Replace the session's common data: stored in the lane behind the inputs before it, applied by the owner when it comes there."""
        session = self._identities.session(call.principal, call.path["sessionId"])
        plain = call.content_type == OCTETS
        data = call.body if plain else decode(call.body, call.content_type, CommonDataRequest).common_data
        await self._lifecycle.require_open(session)
        given = call.header("idempotency-key")
        key = key_hash(b"common" + session.sid, given) if given else secrets.token_bytes(16)
        await self._lanes.publish_common(session, common_message(session.sid, key, fingerprint(data), data))
        return Answer(status=202)

    async def _create(self, connection: ConnectionId, cluster: str, attributes: SessionCreationAttributes, common: bytes | None) -> Answer:
        deadline = asyncio.get_running_loop().time() + self._limits.create_seconds
        for _ in range(_BUSY_ATTEMPTS):
            session = await self._lanes.begin(
                cluster, lambda lane, born: _session(connection, cluster, lane, born), lambda made: _claim(made, connection, attributes), common
            )
            answer = await self._follow(session, deadline)
            if answer is not None:
                return answer
        raise ProblemError("no-free-lane", "the lanes that were tried are in use")

    async def _follow(self, session: SessionId, deadline: float) -> Answer | None:
        """Wait until a worker has opened the session, or refused it; None: the lane was in use."""
        try:
            async with asyncio.timeout_at(deadline), self._readers.reading(session, START) as (reader, _):
                while not reader.fold.opened and not reader.fold.ended and reader.failure is None:
                    await reader.change.wait()
                fold = reader.fold
                if fold.refused is not None and fold.refused.code == _LANE_BUSY:
                    return None
                if fold.refused is not None:
                    code = fold.refused.code if fold.refused.code in PROBLEMS else "session-refused"
                    self._lifecycle.note(session, SessionState.CLOSED, code)
                    raise ProblemError(code, fold.refused.message)
                if fold.opened:
                    self._lifecycle.note(session, state_of(fold))
                    return self._answer(201, session, state_of(fold), fold.native_id)
        except (TimeoutError, ReaderLostError):
            pass
        # The claim is stored: a worker will take it, so the client gets the session's id in any case.
        return self._answer(202, session, SessionState.PENDING, "")

    def _answer(self, status: int, session: SessionId, state: SessionState, native_id: str) -> Answer:
        text = self._identities.seal_session(session)
        body = SessionAnswer(
            session_id=text,
            state=state,
            grid=session.grid,
            cluster=session.cluster,
            native_id=native_id,
            cursor=self._identities.seal_cursor(session, START),
        )
        return Answer(status=status, body=body, headers={"Location": f"/v1/sessions/{text}"})


def _session(connection: ConnectionId, cluster: str, lane: int, born: Position | None) -> SessionId:
    return SessionId(
        sid=secrets.token_bytes(16),
        cluster=cluster,
        lane=lane,
        grid=connection.grid,
        application=connection.application,
        principal=connection.principal,
        connection=connection.nonce,
        born=born,
    )


def _claim(session: SessionId, connection: ConnectionId, attributes: SessionCreationAttributes) -> Claim:
    return Claim(
        sid=session.sid,
        cluster=session.cluster,
        lane=session.lane,
        grid=session.grid,
        application=session.application,
        principal=session.principal,
        username=connection.username,
        connection=session.connection,
        attributes=attributes,
        born=session.born,
        created_at=time.time(),
    )
