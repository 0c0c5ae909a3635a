"""How a session ends: the grid session first, then the journal's last record, then lane and claim, each only when the former is safe."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from bridge.epoch import DoubtError, Epoch
from bridge.events import Asked, Delivered, DrainAsked, Read, ViewLost
from bridge.lanewatch import LaneWatch
from bridge.reading import watch_journal
from bridge.session import OwnedSession, Stage
from bridge.summary import summarise
from broker.journal.view import JournalView, NotProvenError
from schemas.control import Reply
from schemas.records import Closed, RecordKind, Refused
from schemas.symphony import CloseFlags

__all__ = ["Ending", "SessionEndedError"]

_PAUSE: Final = 0.05
_LOOK_SECONDS: Final = 1.0
"""How often an ending session looks whether its channel is still there."""


class SessionEndedError(Exception):
    """Raised to leave an epoch when the session's last record is visible."""


class Ending:
    """The end of one session.

    Args:
        session: The session.
    """

    def __init__(self, session: OwnedSession) -> None:
        self._session = session

    def close(self, reason: str) -> None:
        """DESTROY: drop what is unfinished, end the grid session, then write the last record."""
        session = self._session
        if session.stage in (Stage.CLOSING, Stage.LAST):
            return
        session.stage = Stage.CLOSING

        async def close() -> None:
            await session.grid.close(destroy=True)
            self.end(Closed(last=session.current().drop_waiting(), reason=reason))

        session.start(close())

    def close_by(self, flags: CloseFlags) -> None:
        """Close because a client asked for it."""
        self.close(f"closed by the client ({flags.name})")

    def refuse(self, code: str, message: str) -> None:
        """The session ends before it began; one that had begun is aborted."""
        session = self._session
        session.log.warning("session refused", code=code, reason=message)
        if session.fold.opened:
            self.abort(message)
        else:
            self.end(Refused(code=code, message=message))

    def abort(self, reason: str) -> None:
        """End the session as aborted, with what is visible."""
        self._session.log.error("session aborted", reason=reason)
        self.end(Closed(last=self._session.current().last, reason=reason, aborted=True))

    def end(self, body: Closed | Refused) -> None:
        """Publish the session's last record; when it is visible the session has ended."""
        session = self._session
        session.stage = Stage.LAST
        session.last_record = body
        kind = RecordKind.CLOSED if isinstance(body, Closed) else RecordKind.REFUSED
        session.current().publish(kind, body, self._ended)

    def end_again(self, epoch: Epoch) -> None:
        """The last record was lost in a doubt: write it again, with the new epoch's last number."""
        body = self._session.last_record
        if isinstance(body, Closed):
            self.end(msgspec.structs.replace(body, last=epoch.last))
        elif body is not None:
            self.end(body)

    def end_unused(self) -> None:
        """A session that nobody uses gives its lane back."""
        session = self._session
        if session.stage is not Stage.OPEN or len(session.holding):
            return
        used = session.used or session.fold.next > 1
        limit = session.settings.idle_seconds if used else session.settings.unused_seconds
        if session.loop.time() - session.heard_at > limit:
            self.close("nobody used the session")

    async def finish(self, view: JournalView, watch: LaneWatch) -> None:
        """The last record is visible: once it is safe, empty the lane, give its token back, use up the claim.

        Raises:
            DoubtError: The last record was lost.
            BrokerError: The broker is away; a successor finishes.
        """
        session = self._session
        session.stage = Stage.LAST
        session.log.info("session ended", reason=session.fold.closed.reason if session.fold.closed else "refused")
        await session.grid.close(destroy=True)
        if not await self._wait_until_safe(view, watch):
            return
        if session.fold.refused is None or session.fold.refused.code != "lane-busy":
            await self._empty_lane(watch)
            if not watch.occupied:
                await session.tools.free.put(session.claim.lane)
        await session.channel.ack_claim()

    async def _wait_until_safe(self, view: JournalView, watch: LaneWatch) -> bool:
        """False: this owner has to leave before; a successor finds the last record and goes on here."""
        session = self._session
        end = session.loop.time() + session.settings.ack_delay
        reader = session.beside(watch_journal(view, session.inbox.put))
        try:
            while (left := end - session.loop.time()) > 0:
                await session.inbox.wait(min(left, _LOOK_SECONDS))
                self._answer_events(watch)
                if not session.channel.alive or session.draining_since is not None:
                    return False
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        try:
            await view.prove()
        except NotProvenError as exc:
            raise DoubtError("the session's last record was lost") from exc
        return True

    async def _empty_lane(self, watch: LaneWatch) -> None:
        """Nobody publishes inputs after the last record: take out what still lies there."""
        session = self._session
        for held in session.holding:
            session.channel.ack(held.tag)
        await session.consume()
        while session.channel.alive and (self._answer_events(watch) or await session.channel.count(session.input_queue)):  # noqa: ASYNC110 - the count tells nobody when it changes
            await asyncio.sleep(_PAUSE)

    def _answer_events(self, watch: LaneWatch) -> bool:
        """Answer who asks, take inputs out of the lane; whether there were any.

        Raises:
            DoubtError: The journal's reader was lost.
        """
        session, found = self._session, False
        while (event := session.inbox.pop()) is not None:
            match event:
                case Asked(request):
                    session.tools.answer(request, Reply(id=request.id, worker=session.tools.worker, sessions=[summarise(session)]))
                case Delivered(delivery):
                    session.channel.ack(delivery.tag)
                    found = True
                case DrainAsked():
                    session.draining_since = session.loop.time()
                case Read(steps):
                    for step in steps:
                        watch.saw(step.record)
                case ViewLost(error):
                    raise DoubtError(f"the journal's reader was lost: {error}")
                case _:
                    pass
        return found

    def _ended(self) -> None:
        raise SessionEndedError
