"""A session's owner: takes over by log order, runs inputs on the grid, publishes outputs, and acknowledges only what is safe.

One owner lives on one channel, the one that holds the session's claim. It goes through epochs: each begins by reading the journal and
marking it, and ends when the session does, when a higher mark shows another owner, or in doubt; in doubt the next epoch begins in place,
from the journal as it is, with deliveries, running tasks and outcomes kept.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import suppress
from typing import Final

import msgspec

from bridge.commands import Commands
from bridge.ending import Ending, SessionEndedError
from bridge.epoch import DoubtError, Epoch, EpochLimits
from bridge.events import Event, Progressed, Proven, PublishFailed, Read, ViewLost
from bridge.inbox import Inbox
from bridge.lanewatch import LaneWatch
from bridge.reading import read_mark, read_to_end
from bridge.session import OwnedSession, OwnerTools, SessionMemory, Stage
from bridge.summary import summarise
from bridge.tenure import FencedError, HandOverError, Tenure
from broker.claims import SessionChannel, publish_claim
from broker.errors import BrokerError
from broker.journal.done import DoneTasks
from broker.journal.fold import Fold, Verdict
from broker.journal.view import JournalView, Step, begin_soundly, journal_name
from broker.journal.writer import JournalWriter
from broker.publishing import Publisher
from runtime.logs import Logger
from schemas.control import SessionSummary
from schemas.messages import Claim
from schemas.records import RecordKind, Refused
from schemas.topology import SEGMENT_BYTES

__all__ = ["SessionOwner"]

_LONGEST_BACKOFF: Final = 30.0
_PROBE_SECONDS: Final = 5.0
_SNAPSHOT_BYTES: Final = 64 * 1024 * 1024
_FAILURES: Final = 4
_REDELIVERIES: Final = 10


class SessionOwner:
    """Owns one session for as long as its channel lives.

    Args:
        channel: Carries the claim.
        claim: The session.
        memory: What this worker remembers of it.
        tools: Shared with the worker's other owners.
        log: Bound to the session.
    """

    def __init__(self, *, channel: SessionChannel, claim: Claim, memory: SessionMemory, tools: OwnerTools, log: Logger) -> None:
        self.claim = claim
        self.inbox: Inbox[Event] = Inbox()
        self.over = asyncio.Event()
        """Set by the worker when this owner has left it."""
        self._channel = channel
        self._tools = tools
        self._log = log
        self._tasks = asyncio.TaskGroup()
        self._session = OwnedSession(channel=channel, claim=claim, memory=memory, tools=tools, log=log, tasks=self._tasks, inbox=self.inbox)
        self._ending = Ending(self._session)
        self._publisher = Publisher(link=tools.broker.publishing)
        self._writer = JournalWriter(publisher=self._publisher, cluster=claim.cluster, lane=claim.lane, sid=claim.sid, worker=tools.worker)
        self._tenure = Tenure(session=self._session, ending=self._ending, commands=self._make_commands(), tasks=self._tasks)

    async def run(self) -> None:
        """Own the session until it ends or goes to another owner. Closes the channel."""
        try:
            async with self._tasks:
                watch = self._tasks.create_task(self._session.watch_channel())
                try:
                    await self._epochs()
                finally:
                    watch.cancel()
                    await self._session.let_go()
        finally:
            await self._channel.aclose()
            await self._writer.aclose()
            await self._publisher.aclose()

    def summary(self) -> SessionSummary:
        """Return the session as it is now."""
        return summarise(self._session)

    def holds_other_claim(self, channel: SessionChannel) -> bool:
        """Whether this owner still holds its session by another claim than the one on ``channel``."""
        return self._channel.alive and self._channel.claim_id != channel.claim_id

    async def give_up(self) -> None:
        """Close the channel (the broker has taken the claim back already, it was delivered anew) and wait until this owner has ended."""
        await self._channel.aclose()
        await self.over.wait()

    async def _epochs(self) -> None:
        pause = 1.0
        while True:
            began = self._session.loop.time()
            try:
                await self._one_epoch()
            except FencedError as exc:
                await self._fenced(exc)
                return
            except HandOverError:
                await self._hand_over()
                return
            except (DoubtError, BrokerError) as exc:
                if not self._channel.alive:
                    self._log.info("session goes back to the broker", reason=str(exc))
                    return
                self._log.warning("in doubt, a new epoch begins", reason=str(exc))
            else:
                return
            pause = 1.0 if self._session.loop.time() - began > _LONGEST_BACKOFF else min(pause * 2, _LONGEST_BACKOFF)
            await self._back_off(random.uniform(0.5, 1.0) * pause / 2)  # noqa: S311 - spreads load, guards nothing

    async def _back_off(self, seconds: float) -> None:
        """Wait, unless the channel goes: then claim and inputs are with another owner already."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._channel.closed.wait()

    async def _one_epoch(self) -> None:
        claim = self.claim
        watch = LaneWatch(claim.sid)
        fold = Fold(claim.sid, done=DoneTasks())
        async with JournalView(broker=self._tools.broker, queue=journal_name(claim.cluster, claim.lane), fold=fold) as view:
            await begin_soundly(view, claim.born)
            await read_to_end(view, watch)
            self._session.fold = view.fold
            self._session.memory.max_num = max(self._session.memory.max_num, view.fold.num)
            if view.fold.ended:
                await self._ending.finish(view, watch)
                return
            if watch.occupied and not view.fold.num:
                await self._refuse_busy(view)
                return
            await self._channel.probe(self._session.input_queue, _PROBE_SECONDS)
            await self._begin(view, watch)
            try:
                await self._tenure.serve(view)
            except SessionEndedError:
                await self._ending.finish(view, LaneWatch(claim.sid))
            finally:
                self._session.memory.cache.leave(self._session.current().unpublished())

    async def _begin(self, view: JournalView, watch: LaneWatch) -> None:
        """Mark, read the mark back, publish the first snapshot, and look at what is held already with the new epoch's eyes."""
        session, memory = self._session, self._session.memory
        epoch = self._new_epoch(view.fold)
        memory.max_num += 1
        epoch.begin(memory.max_num, self._channel.claim_id)
        mark, behind = await read_mark(view, watch, epoch.nonce, within=session.settings.readback_seconds)
        if mark.verdict is not Verdict.FOLDED:
            memory.max_num = max(memory.max_num, view.fold.num)
            raise DoubtError("another mark came first; mark again, higher")
        epoch.saw(mark.record, mark.verdict)
        self._adopt(view.fold, epoch, behind)
        view.published = epoch.published
        if self._hopeless():
            self._ending.abort("its owners failed again and again")
            return
        if watch.occupied and not view.fold.opened:
            self._ending.refuse("lane-busy", "another session lives in this lane")
        elif session.stage is not Stage.CLOSING:
            self._ending.end_again(epoch)
        if not session.intake.begin(view.fold, epoch):
            # A task has to run again and its input is no longer in memory: the broker still has it.
            await self._channel.aclose()
            raise DoubtError("an input has to be delivered anew")
        await session.consume()
        self._log.info("session owned", epoch=epoch.num, next=view.fold.next, claim=self._channel.claim_id)

    def _hopeless(self) -> bool:
        """Whether owners here and elsewhere have failed with this session so often that it is ended without touching its inputs (D7)."""
        return self._session.memory.failures >= _FAILURES and self._channel.delivery_count >= _REDELIVERIES

    def _new_epoch(self, fold: Fold) -> Epoch:
        return Epoch(
            writer=self._writer,
            fold=fold,
            limits=self._limits(),
            failed=lambda error, num: self.inbox.put(PublishFailed(error, num)),
            progressed=lambda: self.inbox.put(Progressed()),
        )

    def _limits(self) -> EpochLimits:
        """A full snapshot is written often enough that one always lies within the part of the stream that is never trimmed."""
        room = (self._tools.lanes.journal_bytes - 2 * SEGMENT_BYTES) // 2
        return EpochLimits(readback_seconds=self._session.settings.readback_seconds, snapshot_bytes=min(_SNAPSHOT_BYTES, room))

    def _adopt(self, fold: Fold, epoch: Epoch, behind: list[Step]) -> None:
        """From here on the new epoch is the owner's; what the former one still had to say is void."""
        session = self._session
        session.fold, session.epoch, session.safe = fold, epoch, -1.0
        self.inbox.keep(lambda event: not isinstance(event, Read | Proven | ViewLost | PublishFailed))
        self.inbox.put(Read(behind))
        epoch.controls = msgspec.structs.replace(fold.controls, opened=fold.opened, native_id=fold.native_id)
        epoch.open()

    async def _refuse_busy(self, view: JournalView) -> None:
        """Two sessions in one lane: the later one is refused before it marks anything, and gives no token back."""
        nonce = self._writer.begin(0)
        self._writer.append(RecordKind.REFUSED, Refused(code="lane-busy", message="another session lives in this lane"))
        await read_mark(view, LaneWatch(self.claim.sid), nonce, within=self._session.settings.readback_seconds)
        await self._channel.ack_claim()

    async def _fenced(self, fence: FencedError) -> None:
        """Another claim's owner: this claim is surplus. The same claim's: it went to the other owner with the channel."""
        self._log.warning("fenced by another owner", claim=fence.claim_id)
        if fence.claim_id != self._channel.claim_id:
            await self._channel.ack_claim()

    async def _hand_over(self) -> None:
        """A fresh copy of the claim first: it counts no redeliveries, and a claim too many is harmless where one too few is not."""
        await publish_claim(self._tools.publisher, self.claim, secrets.token_hex(16))
        await self._channel.ack_claim()
        self._log.info("session handed over")

    def _make_commands(self) -> Commands:
        session = self._session
        return Commands(
            intake=session.intake,
            grid=session.grid,
            answer=self._tools.answer,
            summary=self.summary,
            start=session.start,
            fence=session.put_fence,
            close=self._ending.close_by,
            worker=self._tools.worker,
        )
