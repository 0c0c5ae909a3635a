"""Makes session objects: for sessions just created, and for those taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sluiceway.aio.calls import ask, get, segment
from sluiceway.aio.means import Means
from sluiceway.aio.session import AsyncSession
from sluiceway.codecs import Codec, find_codec
from sluiceway.http.transport import post
from sluiceway.records import OpenSessionRequest, SessionAnswer, SessionDescription

__all__ = ["SessionPlan", "attach", "open_session"]


@dataclass(frozen=True, kw_only=True)
class SessionPlan:
    """What every session object of one client gets."""

    codec: Codec
    means: Means

    @classmethod
    def make(cls, codec: str | Codec, *, codecs: Mapping[str, Codec], means: Means) -> Self:
        """Look the codec up.

        Raises:
            CodecError: No codec has that name.
        """
        return cls(codec=find_codec(codec, codecs), means=means)

    def build(self, answer: SessionAnswer, *, cursor: str | None = None) -> AsyncSession:
        """Return the session object and begin to keep the session alive."""
        session = AsyncSession(answer, cursor=cursor or answer.cursor, codec=self.codec, means=self.means)
        self.means.keepalive.add(session)
        return session


async def open_session(connection_path: str, session_id: str, *, cursor: str | None, plan: SessionPlan) -> AsyncSession:
    """Open a detached session (Symphony's ``openSession``)."""
    call = post(f"{connection_path}/sessions/open", OpenSessionRequest(session_id=session_id))
    answer = await ask(plan.means.transport, call, SessionAnswer.read)
    return plan.build(answer, cursor=cursor)


async def attach(session_id: str, *, cursor: str | None, plan: SessionPlan) -> AsyncSession:
    """Take up a session by its id alone; also a closed one, whose last outputs may still be there."""
    found = await ask(plan.means.transport, get(f"/v1/sessions/{segment(session_id)}"), SessionDescription.read)
    # An empty cursor is the beginning of the session's outputs.
    answer = SessionAnswer(session_id=session_id, state=found.state, grid=found.grid, cluster=found.cluster, native_id=found.native_id, cursor="")
    return plan.build(answer, cursor=cursor)
