"""Makes session objects: for sessions just created, and for those taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sluiceway.aio.calls import ask
from sluiceway.aio.means import Means
from sluiceway.aio.session import AsyncSession
from sluiceway.codecs import Codec, find_codec
from sluiceway.http.transport import post
from sluiceway.records import OpenSessionRequest, SessionAnswer

__all__ = ["SessionPlan", "open_session"]

_NO_CONNECTION = "-"
"""Stands where a connection id would: a session id alone says which session is meant."""


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


async def open_session(session_id: str, *, cursor: str | None, plan: SessionPlan) -> AsyncSession:
    """Open an existing session (Symphony's ``openSession``: whoever opened it before has lost it)."""
    call = post(f"/v1/connections/{_NO_CONNECTION}/sessions/open", OpenSessionRequest(session_id=session_id))
    answer = await ask(plan.means.transport, call, SessionAnswer.read)
    return plan.build(answer, cursor=cursor)
