"""What an owner does during one epoch: one event after another, then once what follows from all of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import msgspec

from bridge.commands import Commands
from bridge.connectors.base import Outcome, SessionOpening
from bridge.ending import Ending
from bridge.epoch import DoubtError
from bridge.events import (
    Asked,
    ChannelClosed,
    Delivered,
    Doubted,
    DrainAsked,
    Event,
    Finished,
    GridLost,
    GridOpened,
    GridRefused,
    Heard,
    Progressed,
    Proven,
    PublishFailed,
    Read,
    ViewLost,
)
from bridge.proofs import Proofs
from bridge.reading import watch_journal
from bridge.session import OwnedSession, Stage
from broker.journal.fold import Verdict, rebase
from broker.journal.view import JournalView, Step
from schemas.control import Acknowledge
from schemas.records import Mark, Opened, RecordKind
from schemas.symphony import CloseFlags

__all__ = ["FencedError", "HandOverError", "Tenure"]

_TURN_SECONDS: Final = 0.25
_IDLE_SECONDS: Final = 1.0
_ACKED_SHOWN_SECONDS: Final = 1.0
_GRID_PAUSE: Final = 2.0


class FencedError(Exception):
    """Raised when a higher mark shows that another owner has taken over.

    Args:
        claim_id: The claim that the other owner holds.
    """

    def __init__(self, claim_id: str) -> None:
        super().__init__("another owner has taken over")
        self.claim_id = claim_id


class HandOverError(Exception):
    """Raised when a draining owner has nothing more to wait for."""


class Tenure:
    """The work of one owner between a mark and whatever ends its epoch.

    Args:
        session: What the owner has in hand.
        ending: How it ends.
        commands: What gateways may ask.
        tasks: Where the journal's reader runs.
    """

    def __init__(self, *, session: OwnedSession, ending: Ending, commands: Commands, tasks: asyncio.TaskGroup) -> None:
        self._session = session
        self._ending = ending
        self._commands = commands
        self._tasks = tasks
        self._acked_shown_at = 0.0
        self._open_at = 0.0

    async def serve(self, view: JournalView) -> None:
        """Handle what happens until something ends the epoch.

        Raises:
            DoubtError: It is not certain what the journal holds.
            FencedError: Another owner has taken over.
            HandOverError: The worker drains, and all that could finish has.
            SessionEndedError: The session's last record is visible.
        """
        inbox = self._session.inbox
        reader = self._tasks.create_task(watch_journal(view, inbox.put))
        proofs = Proofs(view=view, settings=self._session.settings, tell=inbox.put, tasks=self._tasks)
        try:
            while True:
                await inbox.wait(_TURN_SECONDS if self._busy() else _IDLE_SECONDS)
                while (event := inbox.pop()) is not None:
                    self._handle(event, view)
                self._turn(proofs)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await proofs.aclose()

    def _busy(self) -> bool:
        session = self._session
        return bool(len(session.holding)) or session.draining_since is not None or session.stage is not Stage.OPEN or session.current().in_flight

    def _handle(self, event: Event, view: JournalView) -> None:  # noqa: C901, PLR0912 - one flat table of all that can happen
        session = self._session
        match event:
            case Read(steps):
                for step in steps:
                    self._saw(step)
            case Delivered(delivery):
                session.take(delivery)
            case Finished(outcomes):
                self._finished(outcomes)
            case Progressed():
                pass
            case Proven(begun):
                self._proven(begun)
            case Heard(acknowledge):
                self._acknowledge(acknowledge, view)
            case Asked(request):
                session.heard()
                self._commands.handle(request, session.current())
            case GridOpened(native_id):
                self._opened(native_id)
            case GridRefused(code, message):
                self._ending.refuse(code, message)
            case GridLost(error):
                self._grid_lost(error)
            case Doubted():
                session.doubted = True
            case PublishFailed(error, num):
                if num == session.current().num:
                    raise DoubtError(f"a publication failed: {error}")
            case ViewLost(error):
                raise DoubtError(f"the journal's reader was lost: {error}")
            case ChannelClosed():
                raise DoubtError("the session's channel was lost")
            case DrainAsked():
                session.draining_since = session.loop.time()

    def _turn(self, proofs: Proofs) -> None:
        session, epoch = self._session, self._session.current()
        now = session.loop.time()
        if session.tools.broker.publishing.blocked:
            epoch.excuse(now)
        epoch.check(now)
        self._open_grid(now)
        session.release()
        self._prove(proofs, now)
        if session.stage not in (Stage.CLOSING, Stage.LAST):
            epoch.flush()
        session.grid.wake()
        if now - self._acked_shown_at > _ACKED_SHOWN_SECONDS:
            self._acked_shown_at = now
            epoch.repeat_acknowledged()
        self._ending.end_unused()
        self._drain(now)

    # ------------------------------------------------------------------ the journal

    def _proven(self, begun: float) -> None:
        self._session.safe = begun - self._session.settings.ack_delay
        self._session.doubted = False

    def _prove(self, proofs: Proofs, now: float) -> None:
        """An input that no client has acknowledged for the whole delay waits for a fresh reading; so does a reader that is stuck."""
        session = self._session
        since = session.holding.waits_since()
        proofs.start_if_due(now, wanted=session.doubted or (since is not None and since <= now - session.settings.ack_delay))

    def _saw(self, step: Step) -> None:
        session, headers = self._session, step.record.headers
        epoch = session.current()
        if headers.sid != session.claim.sid:
            return
        if (headers.num, headers.nonce) != (epoch.num, epoch.nonce):
            self._saw_other(step)
            return
        outputs = epoch.saw(step.record, step.verdict)
        if outputs:
            session.intake.visible(outputs, headers.first, len(step.record.raw))

    def _saw_other(self, step: Step) -> None:
        """A record of another epoch: a valid mark fences this owner, an unknown higher epoch is a doubt, the rest does not count."""
        headers, memory = step.record.headers, self._session.memory
        memory.max_num = max(memory.max_num, headers.num)
        if step.verdict is Verdict.FOLDED and headers.kind is RecordKind.MARK:
            body = step.record.body()
            raise FencedError(body.claim_id if isinstance(body, Mark) else "")
        if step.verdict is Verdict.REREAD:
            raise DoubtError("records of an unknown epoch")

    def _acknowledge(self, heard: Acknowledge, view: JournalView) -> None:
        """A client holds everything below a number; an epoch above all known ones has to be outnumbered."""
        session = self._session
        session.heard()
        position = rebase(session.fold, heard.num, heard.nonce, heard.next)
        if position is None:
            session.memory.max_num = max(session.memory.max_num, heard.num)
            raise DoubtError("a client has seen a higher epoch")
        acked = min(position, session.fold.next)
        if acked <= session.fold.acked:
            return
        session.fold.acknowledge(acked)
        if heard.at is not None and acked == heard.next and not view.vouch(heard.at):
            # A gateway has read another record there than this owner: one of the two did not read what the journal holds.
            session.doubted = True

    # ------------------------------------------------------------------ the grid

    def _open_grid(self, now: float) -> None:
        """Open the grid session once the common data that came with the claim is visible in the journal."""
        session, claim = self._session, self._session.claim
        if session.grid.opening or session.stage is not Stage.OPENING or now < self._open_at:
            return
        if claim.common_data_key and not session.fold.common_key:
            return
        session.grid.held = session.controls.suspended
        session.grid.open(
            SessionOpening(
                sid=claim.sid,
                grid=claim.grid,
                application=claim.application,
                principal=claim.principal,
                attributes=claim.attributes,
                common_data=session.fold.common_data,
            )
        )

    def _opened(self, native_id: str) -> None:
        session, epoch = self._session, self._session.current()
        session.stage = Stage.OPEN
        if epoch.controls.priority is not None:
            session.start(session.grid.prioritise(epoch.controls.priority))
        if epoch.controls.closing is not None:
            self._ending.close_by(CloseFlags(epoch.controls.closing))
            return
        if not session.fold.opened:
            epoch.controls = msgspec.structs.replace(epoch.controls, opened=True, native_id=native_id)
            epoch.publish(RecordKind.OPENED, Opened(native_id=native_id))
        session.log.info("grid session open", native_id=native_id)

    def _finished(self, outcomes: Sequence[Outcome]) -> None:
        session = self._session
        if session.stage in (Stage.CLOSING, Stage.LAST):
            return
        for outcome in outcomes:
            if outcome.payload is not None and len(outcome.payload) > session.largest:
                session.largest = len(outcome.payload)
            session.intake.finished(outcome)

    def _grid_lost(self, error: Exception) -> None:
        """Before it opened: try again. Later what ran is gone, and the broker still has the inputs: give them back."""
        session = self._session
        if session.stage is not Stage.OPENING:
            session.channel.abandon()
            raise DoubtError(f"the grid was lost: {error}")
        session.log.warning("the grid is away", reason=str(error))
        self._open_at = session.loop.time() + random.uniform(0.5, 1.5) * _GRID_PAUSE  # noqa: S311 - spreads load, guards nothing

    # ------------------------------------------------------------------ hand-over

    def _drain(self, now: float) -> None:
        """Start nothing; leave when what runs has finished and is visible, or when the time is over."""
        session = self._session
        if session.draining_since is None or session.stage in (Stage.CLOSING, Stage.LAST):
            return
        quiet = session.current().idle and not session.grid.running
        if quiet or now - session.draining_since > session.tools.drain_seconds:
            raise HandOverError
