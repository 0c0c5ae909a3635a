"""A session as its owner sees it, for whoever asks."""

from __future__ import annotations

from bridge.session import OwnedSession, Stage
from schemas.control import SessionSummary
from schemas.symphony import SessionState

__all__ = ["session_state", "summarise"]


def session_state(session: OwnedSession) -> SessionState:
    """Return Symphony's word for the session's state."""
    closed = session.fold.closed
    if session.fold.ended or session.stage in (Stage.CLOSING, Stage.LAST):
        return SessionState.ABORTED if closed is not None and closed.aborted else SessionState.CLOSED
    if session.stage is Stage.OPENING and not session.fold.opened:
        return SessionState.PENDING
    return SessionState.SUSPENDED if session.controls.suspended else SessionState.OPEN


def summarise(session: OwnedSession) -> SessionSummary:
    """Return the session as it is now."""
    claim, fold, attributes = session.claim, session.fold, session.claim.attributes
    finished = fold.next - 1
    priority = session.controls.priority
    return SessionSummary(
        sid=claim.sid,
        lane=claim.lane,
        cluster=claim.cluster,
        grid=claim.grid,
        application=claim.application,
        principal=claim.principal,
        connection=claim.connection,
        born_offset=claim.born.offset if claim.born else None,
        born_id=claim.born.message_id if claim.born else "",
        name=attributes.name or "",
        tag=attributes.tag or "",
        state=session_state(session),
        worker=session.tools.worker,
        native_id=fold.native_id,
        priority=priority if priority is not None else (attributes.priority or None),
        created_at=claim.created_at,
        received=finished + session.holding.waiting,
        pending=session.grid.queued,
        running=len(session.grid.running),
        done=finished - fold.failed - fold.cancelled,
        failed=fold.failed,
        cancelled=fold.cancelled,
        acked=fold.acked - 1,
        last=finished,
    )
