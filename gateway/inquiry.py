"""The operations that tell how sessions are: getSession and listSessions."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.call import Answer, Call
from gateway.grids import Grids
from gateway.identities import Identities
from gateway.lifecycle import Lifecycle, state_of
from gateway.owners import Owners, question
from gateway.presence import Presence
from gateway.problems import ProblemError
from gateway.readers import Readers
from gateway.reading import ReaderLostError
from schemas.control import SessionSummary, Verb
from schemas.cursors import START
from schemas.http import SessionDescription, SessionList, TaskCounts
from schemas.ids import Position, SessionId
from schemas.symphony import SessionState

__all__ = ["Inquiry"]

_LIST_SECONDS: Final = 2.0
_ASK_SECONDS: Final = 2.0
_QUIET_SECONDS: Final = 0.3
_JOURNAL_SECONDS: Final = 2.5


class Inquiry:
    """Describes sessions: as their owners see them, else as far as their journals tell.

    Args:
        identities: Opens and seals ids.
        owners: Reaches workers.
        presence: Names owners.
        readers: Reads journals.
        lifecycle: Is told what was found out.
        grids: Which clusters to ask.
    """

    def __init__(self, *, identities: Identities, owners: Owners, presence: Presence, readers: Readers, lifecycle: Lifecycle, grids: Grids) -> None:
        self._identities = identities
        self._owners = owners
        self._presence = presence
        self._readers = readers
        self._lifecycle = lifecycle
        self._grids = grids

    async def get(self, call: Call) -> Answer:
        """Describe one session."""
        session = self._identities.session(call.principal, call.path["sessionId"])
        try:
            summary = await self._owners.ask(session, question(Verb.STATUS), within=_ASK_SECONDS)
        except ProblemError as exc:
            if exc.kind.status == 409:  # noqa: PLR2004 - closed or aborted is an answer here
                return Answer(body=await self._from_journal(session))
            if exc.code not in {"owner-unavailable", "unknown-session"}:
                raise
            summary = None
        if summary is None:
            return Answer(body=await self._from_journal(session))
        state = SessionState(summary.state)
        self._lifecycle.note(session, state)
        return Answer(body=self._describe(session, summary))

    async def list(self, call: Call) -> Answer:
        """Describe the caller's sessions that have an owner."""
        clusters = self._grids.allowed_clusters(call.principal)
        asked = await asyncio.gather(
            *(self._owners.ask_cluster(cluster, Verb.LIST, principal=call.principal.name, within=_LIST_SECONDS) for cluster in clusters)
        )
        found: dict[bytes, SessionDescription] = {}
        for replies, _ in asked:
            for summary in (summary for reply in replies for summary in reply.sessions):
                # Workers filter by the principal; what another caller owns must not show even if one of them does not.
                if summary.principal == call.principal.name:
                    found[summary.sid] = self._describe(_session(summary), summary)
        sessions = sorted(found.values(), key=lambda description: (description.created_at, description.session_id))
        return Answer(body=SessionList(sessions=sessions, complete=all(complete for _, complete in asked)))

    async def _from_journal(self, session: SessionId) -> SessionDescription:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_JOURNAL_SECONDS), self._readers.reading(session, START) as (reader, fresh):
                end = loop.time() + _JOURNAL_SECONDS - _QUIET_SECONDS
                # The end of a journal is silence; a warm reader has met it already.
                while fresh and loop.time() < end and not reader.fold.ended and await _changes(reader.change):
                    pass
                fold = reader.fold
                self._lifecycle.note(session, state_of(fold))
                return SessionDescription(
                    session_id=self._identities.seal_session(session),
                    state=state_of(fold),
                    grid=session.grid,
                    cluster=session.cluster,
                    application_name=session.application,
                    priority=fold.controls.priority,
                    native_id=fold.native_id,
                    # Without the owner nobody knows what is still waiting: at least what has an output was received.
                    tasks=TaskCounts(
                        received=fold.next - 1,
                        done=fold.next - 1 - fold.failed - fold.cancelled,
                        error=fold.failed,
                        canceled=fold.cancelled,
                    ),
                    acknowledged=fold.acked - 1,
                    last_sequence=fold.next - 1,
                )
        except (ReaderLostError, TimeoutError) as exc:
            raise ProblemError("owner-unavailable") from exc

    def _describe(self, session: SessionId, summary: SessionSummary) -> SessionDescription:
        return SessionDescription(
            session_id=self._identities.seal_session(session),
            state=summary.state,
            grid=summary.grid,
            cluster=summary.cluster,
            application_name=summary.application,
            name=summary.name,
            tag=summary.tag,
            priority=summary.priority,
            owner=summary.worker,
            native_id=summary.native_id,
            created_at=summary.created_at,
            tasks=TaskCounts(
                received=summary.received,
                pending=summary.pending,
                running=summary.running,
                done=summary.done,
                error=summary.failed,
                canceled=summary.cancelled,
            ),
            acknowledged=summary.acked,
            last_sequence=summary.last,
        )


async def _changes(change: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(_QUIET_SECONDS):
            await change.wait()
    except TimeoutError:
        return False
    return True


def _session(summary: SessionSummary) -> SessionId:
    born = Position(summary.born_offset, summary.born_id) if summary.born_offset is not None else None
    return SessionId(
        sid=summary.sid,
        cluster=summary.cluster,
        lane=summary.lane,
        grid=summary.grid,
        application=summary.application,
        principal=summary.principal,
        connection=summary.connection,
        born=born,
    )
