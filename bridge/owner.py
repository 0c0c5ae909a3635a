"""A session's owner: takes over by log order, runs inputs on the grid, publishes outputs, and acknowledges only what is safe.

One owner lives on one channel, the one that holds the session's claim. It goes through epochs: each begins by reading the journal and
marking it, and ends when the session does, when a higher mark shows another owner, or in doubt; in doubt the next epoch begins in place,
from the journal as it is, with deliveries, running tasks and outcomes kept.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from bridge.commands import Commands
from bridge.connectors.base import Connector, Outcome, SessionOpening
from bridge.epoch import DoubtError, Epoch, EpochLimits
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
from bridge.gridwork import GridWork
from bridge.holding import Holding
from bridge.inbox import Inbox
from bridge.intake import Intake
from bridge.lanewatch import LaneWatch
from bridge.outcomes import OutcomeCache
from bridge.reading import read_mark, read_to_end, watch_journal
from bridge.settings import SessionSettings
from broker.claims import InputDelivery, SessionChannel, publish_claim
from broker.dead import bury
from broker.errors import BrokerError
from broker.journal.done import DoneTasks
from broker.journal.fold import Fold, Verdict, rebase
from broker.journal.view import JournalView, NotProvenError, Step, begin_soundly, journal_name
from broker.journal.writer import JournalWriter
from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from runtime.logs import Logger
from schemas.control import Acknowledge, Reply, Request, SessionSummary
from schemas.ids import FINGERPRINT_BYTES
from schemas.messages import Claim, InputHeaders, InputKind, SubmissionRange
from schemas.records import Closed, Mark, Opened, RecordKind, Refused, body_digest
from schemas.symphony import CloseFlags, SessionState
from schemas.topology import ClusterTopology, LaneLimits

__all__ = ["FencedError", "OwnerTools", "SessionMemory", "SessionOwner"]

_TURN_SECONDS: Final = 0.25
_LONGEST_BACKOFF: Final = 30.0
_ACKED_SHOWN_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 5.0
_GRID_PAUSE: Final = 2.0


class FencedError(Exception):
    """Raised when a higher mark shows that another owner has taken over.

    Args:
        claim_id: The claim that the other owner holds.
    """

    def __init__(self, claim_id: str) -> None:
        super().__init__("another owner has taken over")
        self.claim_id = claim_id


class _EndedError(Exception):
    """Raised to leave an epoch when the session's last record is visible."""


class _HandedOverError(Exception):
    """Raised to leave an epoch when nothing more can be done before the session is handed over."""


class SessionMemory(msgspec.Struct):
    """What a worker remembers of a session over step-downs; lost with the process, which costs runs and nothing else."""

    cache: OutcomeCache
    max_num: int = 0
    """The highest epoch number used, seen or heard of."""


class OwnerTools(msgspec.Struct, frozen=True, kw_only=True):
    """What all owners of a worker share."""

    broker: Broker
    connector: Connector
    publisher: Publisher
    """For claims, tokens, fences and dead letters; each owner's journal has a publisher of its own."""
    free: FreeLanes
    answer: Callable[[Request, Reply], None]
    worker: str
    settings: SessionSettings
    lanes: LaneLimits
    drain_seconds: float


class _Stage(StrEnum):
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    LAST = "last"


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
        self._channel = channel
        self._memory = memory
        self._tools = tools
        self._settings = tools.settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._topology = ClusterTopology(cluster=claim.cluster, lanes=1000, limits=tools.lanes)
        self._input_queue = self._topology.lane_input(claim.lane).name
        self._publisher = Publisher(link=tools.broker.publishing)
        self._writer = JournalWriter(publisher=self._publisher, cluster=claim.cluster, lane=claim.lane, sid=claim.sid, worker=tools.worker)
        self._holding = Holding()
        self._fold = Fold(claim.sid)
        self._epoch: Epoch | None = None
        self._consuming = False
        self._stage = _Stage.OPENING
        self._draining_since: float | None = None
        self._heard_at = self._loop.time()
        self._used = False
        self._largest = 1024
        self._acked_shown_at = 0.0
        self._close_reason = ""
        self._last_record: Closed | Refused | None = None
        self._safe = -1.0
        self._open_at = 0.0
        self._lost = False
        self.over = asyncio.Event()
        """Set by the worker when this owner has left it."""
        self._beside: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Own the session until it ends or goes to another owner. Closes the channel."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                self._grid = GridWork(connector=self._tools.connector, tell=self.inbox.put, room=self._room, tasks=tasks)
                self._intake = Intake(
                    sid=self.claim.sid, holding=self._holding, grid=self._grid, cache=self._memory.cache, bury=self._bury, clock=time.time
                )
                self._commands = self._make_commands()
                watch = tasks.create_task(self._watch_channel())
                try:
                    await self._epochs()
                finally:
                    watch.cancel()
                    for task in self._beside:
                        task.cancel()
                    await self._grid.close(destroy=self._stage is _Stage.LAST)
        finally:
            await self._channel.aclose()
            await self._writer.aclose()
            await self._publisher.aclose()

    def holds_other_claim(self, channel: SessionChannel) -> bool:
        """Whether this owner still holds its session by another claim than the one on ``channel``."""
        return self._channel.alive and self._channel.claim_id != channel.claim_id

    async def give_up(self) -> None:
        """Close the channel (the broker has taken the claim back already, it was delivered anew) and wait until this owner has ended."""
        await self._channel.aclose()
        await self.over.wait()

    def summary(self) -> SessionSummary:
        """Return the session as it is now."""
        claim, fold = self.claim, self._fold
        controls = self._epoch.controls if self._epoch is not None else fold.controls
        attributes = claim.attributes
        finished = fold.next - 1
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
            state=self._state(),
            native_id=fold.native_id,
            priority=controls.priority if controls.priority is not None else (attributes.priority or None),
            created_at=claim.created_at,
            received=finished + self._holding.waiting,
            pending=self._grid.queued,
            running=len(self._grid.running),
            done=finished - fold.failed - fold.cancelled,
            failed=fold.failed,
            cancelled=fold.cancelled,
            acked=fold.acked - 1,
            last=finished,
        )

    def _state(self) -> SessionState:
        controls = self._epoch.controls if self._epoch is not None else self._fold.controls
        if self._fold.ended or self._stage in (_Stage.CLOSING, _Stage.LAST):
            return SessionState.ABORTED if self._fold.closed is not None and self._fold.closed.aborted else SessionState.CLOSED
        if self._stage is _Stage.OPENING:
            return SessionState.PENDING
        return SessionState.SUSPENDED if controls.suspended else SessionState.OPEN

    # ------------------------------------------------------------------ epochs

    async def _epochs(self) -> None:
        pause = 1.0
        while True:
            began = self._loop.time()
            try:
                await self._one_epoch()
            except FencedError as exc:
                await self._fenced(exc)
                return
            except _HandedOverError:
                await self._hand_over()
                return
            except (DoubtError, BrokerError) as exc:
                if self._lost:
                    await self._channel.aclose()
                if not self._channel.alive:
                    self._log.info("session goes back to the broker", reason=str(exc))
                    return
                self._log.warning("in doubt, a new epoch begins", reason=str(exc))
            else:
                return
            pause = 1.0 if self._loop.time() - began > _LONGEST_BACKOFF else min(pause * 2, _LONGEST_BACKOFF)
            await self._back_off(random.uniform(0.5, 1.0) * pause / 2)  # noqa: S311 - spreads load, guards nothing

    async def _back_off(self, seconds: float) -> None:
        """Wait, unless the channel goes: then claim and inputs are with another owner already."""
        try:
            async with asyncio.timeout(seconds):
                await self._channel.closed.wait()
        except TimeoutError:
            return

    async def _one_epoch(self) -> None:
        fold = Fold(self.claim.sid, done=DoneTasks())
        watch = LaneWatch(self.claim.sid)
        queue = journal_name(self.claim.cluster, self.claim.lane)
        async with JournalView(broker=self._tools.broker, queue=queue, fold=fold) as view:
            await begin_soundly(view, self.claim.born)
            await read_to_end(view, watch)
            self._fold = view.fold
            self._memory.max_num = max(self._memory.max_num, view.fold.num)
            if view.fold.ended:
                await self._finish(view, watch)
                return
            if watch.occupied and not view.fold.num:
                await self._refuse_busy(view)
                return
            await self._channel.probe(self._input_queue, _PROBE_SECONDS)
            await self._begin(view, watch)
            try:
                await self._serve(view)
            except _EndedError:
                await self._finish(view, LaneWatch(self.claim.sid))

    async def _begin(self, view: JournalView, watch: LaneWatch) -> None:
        """Mark, read the mark back, publish the first snapshot, and look at what is held already with the new epoch's eyes."""
        epoch = Epoch(
            writer=self._writer,
            fold=view.fold,
            limits=self._limits(),
            failed=lambda error, num: self.inbox.put(PublishFailed(error, num)),
            progressed=lambda: self.inbox.put(Progressed()),
        )
        self._memory.max_num += 1
        epoch.begin(self._memory.max_num, self._channel.claim_id)
        mark, behind = await read_mark(view, watch, epoch.nonce, within=self._settings.readback_seconds)
        if mark.verdict is not Verdict.FOLDED:
            self._memory.max_num = max(self._memory.max_num, view.fold.num)
            raise DoubtError("another mark came first; mark again, higher")
        epoch.saw(mark.record, mark.verdict)
        self._adopt(view.fold, epoch, behind)
        if watch.occupied and not view.fold.opened:
            self._refuse("lane-busy", "another session lives in this lane")
        if not self._intake.begin(view.fold, epoch):
            # An input has to run again and its bytes are gone: the broker still has them.
            await self._channel.aclose()
            raise DoubtError("an input has to be delivered anew")
        await self._consume()
        self._end_again(epoch)
        self._log.info("session owned", epoch=epoch.num, next=view.fold.next, claim=self._channel.claim_id)

    def _adopt(self, fold: Fold, epoch: Epoch, behind: list[Step]) -> None:
        """From here on the new epoch is the owner's; what the former one still had to say is void."""
        self._fold, self._epoch = fold, epoch
        self._safe = -1.0
        self.inbox.keep(lambda event: not isinstance(event, Read | Proven | ViewLost | PublishFailed))
        self.inbox.put(Read(behind))
        epoch.controls = msgspec.structs.replace(fold.controls, opened=fold.opened, native_id=fold.native_id)
        epoch.open()

    async def _consume(self) -> None:
        if not self._consuming:
            await self._channel.consume(self._input_queue, prefetch=self._settings.prefetch, sink=self._deliver)
            self._consuming = True

    def _limits(self) -> EpochLimits:
        """A full snapshot is written often enough that one always lies within the part of the stream that is never trimmed."""
        room = (self._tools.lanes.journal_bytes - 2 * 16 * 1024 * 1024) // 2
        return EpochLimits(readback_seconds=self._settings.readback_seconds, snapshot_bytes=min(64 * 1024 * 1024, room))

    async def _serve(self, view: JournalView) -> None:
        reader = self._tasks.create_task(
            watch_journal(
                view,
                self.inbox.put,
                lambda: self._settings.reading_seconds if len(self._holding) or self._busy() else self._settings.idle_reading_seconds,
            )
        )
        try:
            while True:
                await self.inbox.wait(_TURN_SECONDS)
                while (event := self.inbox.pop()) is not None:
                    self._handle(event)
                self._turn()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _busy(self) -> bool:
        return self._epoch is not None and self._epoch.in_flight

    # ------------------------------------------------------------------ events

    def _handle(self, event: Event) -> None:  # noqa: C901, PLR0912 - one flat table of what can happen
        match event:
            case Read(steps):
                for step in steps:
                    self._saw(step)
            case Delivered(delivery):
                self._used = True
                self._heard_at = self._loop.time()
                self._intake.take(delivery)
            case Finished(outcomes):
                self._finished(outcomes)
            case Progressed():
                pass
            case Proven(begun):
                self._release(begun - self._settings.ack_delay)
            case Heard(acknowledge):
                self._acknowledge(acknowledge)
            case Asked(request):
                self._asked(request)
            case GridOpened(native_id):
                self._opened(native_id)
            case GridRefused(code, message):
                self._grid_refused(code, message)
            case GridLost(error):
                self._grid_lost(error)
            case Doubted():
                raise DoubtError("a reader is stuck at a gap")
            case PublishFailed(error, num):
                if num == self._current().num:
                    raise DoubtError(f"a publication failed: {error}")
            case ViewLost(error):
                raise DoubtError(f"the journal's reader was lost: {error}")
            case ChannelClosed():
                raise DoubtError("the session's channel was lost")
            case DrainAsked():
                self._draining_since = self._loop.time()

    def _turn(self) -> None:
        """What follows from the events of this turn, once for all of them."""
        epoch, now = self._current(), self._loop.time()
        if self._tools.broker.publishing.blocked:
            epoch.excuse(now)
        epoch.check(now)
        self._open_grid()
        self._release(None)
        if self._stage not in (_Stage.CLOSING, _Stage.LAST):
            epoch.flush()
        self._grid.wake()
        if now - self._acked_shown_at > _ACKED_SHOWN_SECONDS:
            self._acked_shown_at = now
            epoch.repeat_acknowledged()
        self._end_unused(now)
        self._drain(now)

    def _finished(self, outcomes: Sequence[Outcome]) -> None:
        if self._stage in (_Stage.CLOSING, _Stage.LAST):
            return
        for outcome in outcomes:
            if outcome.payload is not None:
                self._largest = max(self._largest, len(outcome.payload))
            self._intake.finished(outcome)

    def _grid_lost(self, error: Exception) -> None:
        """Before it opened: try again. Later what ran is gone: the broker still has the inputs, so give them back."""
        if self._stage is _Stage.OPENING:
            self._log.warning("the grid is away", reason=str(error))
            self._open_at = self._loop.time() + random.uniform(0.5, 1.5) * _GRID_PAUSE  # noqa: S311 - spreads load, guards nothing
            return
        self._lost = True
        raise DoubtError(f"the grid was lost: {error}")

    def _current(self) -> Epoch:
        if self._epoch is None:
            raise DoubtError("no epoch has begun")
        return self._epoch

    def _saw(self, step: Step) -> None:
        epoch, headers = self._current(), step.record.headers
        if headers.sid != self.claim.sid:
            return
        if (headers.num, headers.nonce) != (epoch.num, epoch.nonce):
            self._saw_other(step)
            return
        now_visible = epoch.saw(step.record, step.verdict)
        for number, known in enumerate(now_visible, headers.first):
            self._intake.visible(known, number)

    def _saw_other(self, step: Step) -> None:
        """A record of another epoch: a valid mark fences this owner, an unknown higher epoch is a doubt, the rest does not count."""
        headers = step.record.headers
        self._memory.max_num = max(self._memory.max_num, headers.num)
        if step.verdict is Verdict.FOLDED and headers.kind is RecordKind.MARK:
            body = step.record.body()
            raise FencedError(body.claim_id if isinstance(body, Mark) else "")
        if step.verdict is Verdict.REREAD:
            raise DoubtError("records of an unknown epoch")

    def _acknowledge(self, heard: Acknowledge) -> None:
        """A client holds everything below a number; an epoch above all known ones has to be outnumbered."""
        epoch, fold = self._current(), self._fold
        self._used = True
        self._heard_at = self._loop.time()
        position = rebase(fold, heard.num, heard.nonce, heard.next)
        if position is None:
            self._memory.max_num = max(self._memory.max_num, heard.num)
            raise DoubtError("a client has seen a higher epoch")
        if min(position, fold.next) > fold.acked:
            fold.acked = min(position, fold.next)
            epoch.acknowledged()

    def _asked(self, request: Request) -> None:
        self._used = True
        self._heard_at = self._loop.time()
        self._commands.handle(request, self._current())

    def _release(self, safe: float | None) -> None:
        if safe is not None:
            self._safe = safe
        for tag in self._holding.release(acked=self._fold.acked, safe=self._safe):
            self._channel.ack(tag)

    def _room(self) -> int:
        """How many more tasks may start: what they may put out has to fit into the quota of unacknowledged outputs."""
        if self._epoch is None or self._draining_since is not None or self._stage is not _Stage.OPEN:
            return 0
        running = len(self._grid.running)
        left = self._tools.lanes.output_quota - self._epoch.unacked_bytes - running * self._largest
        return max(0, min(left // self._largest, self._settings.outputs_in_flight - running))

    def _deliver(self, delivery: InputDelivery) -> None:
        self.inbox.put(Delivered(delivery))

    def _bury(self, delivery: InputDelivery, done: Callable[[], None]) -> None:
        async def copy() -> None:
            while True:
                try:
                    await bury(self._tools.publisher, delivery.body, key=self._input_queue, reason="cannot be read", headers=delivery.headers)
                except BrokerError as exc:
                    self._log.warning("dead letter could not be stored yet", reason=str(exc))
                    await asyncio.sleep(1.0)
                    continue
                done()
                return

        self._start(copy())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the owner, within its life; its failure is a doubt, not the worker's end."""

        async def guarded() -> None:
            try:
                await work
            except BrokerError as exc:
                self.inbox.put(PublishFailed(exc, self._epoch.num if self._epoch is not None else 0))

        task = self._tasks.create_task(guarded())
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _watch_channel(self) -> None:
        await self._channel.closed.wait()
        self.inbox.put(ChannelClosed())

    def _make_commands(self) -> Commands:
        return Commands(
            intake=self._intake,
            grid=self._grid,
            answer=self._tools.answer,
            summary=self.summary,
            start=self._start,
            fence=self._put_fence,
            close=self._close,
            worker=self._tools.worker,
        )

    async def _put_fence(self, fence: bytes) -> None:
        """Put the end of a cancel by tag into the own lane."""
        run = SubmissionRange(fence, bytes(FINGERPRINT_BYTES), 1, 0, 1)
        headers = InputHeaders(sid=self.claim.sid, kind=InputKind.FENCE, ranges=(run,), digest=body_digest(b""))
        key = self._topology.input_key(self.claim.lane)
        await self._tools.publisher.publish(exchange=self._topology.exchange.name, key=key, body=b"", headers=headers.to_table())

    # ------------------------------------------------------------------ the grid session

    def _open_grid(self) -> None:
        """Open the grid session once the common data that came with the claim is visible in the journal."""
        if self._grid.opening or self._stage is not _Stage.OPENING or self._loop.time() < self._open_at:
            return
        if self.claim.common_data_key and not self._fold.common_key:
            return
        self._grid.held = self._current().controls.suspended
        self._grid.open(
            SessionOpening(
                sid=self.claim.sid,
                grid=self.claim.grid,
                application=self.claim.application,
                principal=self.claim.principal,
                attributes=self.claim.attributes,
                common_data=self._fold.common_data,
            )
        )

    def _opened(self, native_id: str) -> None:
        self._stage = _Stage.OPEN
        epoch = self._current()
        if epoch.controls.priority is not None:
            self._start(self._grid.prioritise(epoch.controls.priority))
        if epoch.controls.closing is not None:
            self._close(CloseFlags(epoch.controls.closing))
            return
        if not self._fold.opened:
            epoch.controls = msgspec.structs.replace(epoch.controls, opened=True, native_id=native_id)
            epoch.publish(RecordKind.OPENED, Opened(native_id=native_id))
        self._log.info("grid session open", native_id=native_id)

    def _grid_refused(self, code: str, message: str) -> None:
        self._log.warning("the grid refused the session", code=code, reason=message)
        if self._fold.opened:
            self._end(Closed(last=self._current().last, reason=message, aborted=True))
        else:
            self._refuse(code, message)

    def _refuse(self, code: str, message: str) -> None:
        self._end(Refused(code=code, message=message))

    # ------------------------------------------------------------------ the end

    def _close(self, flags: CloseFlags) -> None:
        """DESTROY: drop what is unfinished, end the grid session, then write the last record."""
        if self._stage in (_Stage.CLOSING, _Stage.LAST):
            return
        self._stage = _Stage.CLOSING
        self._close_reason = self._close_reason or f"closed by the client ({flags.name})"

        async def close() -> None:
            await self._grid.close(destroy=True)
            self._end(Closed(last=self._current().drop_waiting(), reason=self._close_reason))

        self._start(close())

    def _end(self, body: Closed | Refused) -> None:
        """Publish the session's last record; when it is visible the session has ended."""
        self._stage = _Stage.LAST
        self._last_record = body
        kind = RecordKind.CLOSED if isinstance(body, Closed) else RecordKind.REFUSED
        self._current().publish(kind, body, self._ended)

    def _end_again(self, epoch: Epoch) -> None:
        """The last record was lost in a doubt: write it again, in the new epoch's numbers."""
        body = self._last_record
        if isinstance(body, Closed):
            self._end(msgspec.structs.replace(body, last=epoch.last))
        elif body is not None and epoch.num:
            self._end(body)

    def _ended(self) -> None:
        raise _EndedError

    def _end_unused(self, now: float) -> None:
        """A session that nobody uses gives its lane back."""
        if self._stage is not _Stage.OPEN or len(self._holding):
            return
        limit = self._settings.idle_seconds if self._used or self._fold.next > 1 else self._settings.unused_seconds
        if now - self._heard_at > limit:
            self._close_reason = "nobody used the session"
            self._close(CloseFlags.DESTROY_ON_CLOSE)

    async def _finish(self, view: JournalView, watch: LaneWatch) -> None:
        """The last record is visible: once it is safe, empty the lane, give its token back, use up the claim."""
        self._stage = _Stage.LAST
        self._log.info("session ended", reason=self._fold.closed.reason if self._fold.closed else "refused")
        await self._grid.close(destroy=True)
        end = self._loop.time() + self._settings.ack_delay
        while (left := end - self._loop.time()) > 0:
            for step in await view.read(min(left, 1.0)):
                watch.saw(step.record)
            self._discard_events()
            if not self._channel.alive or self._draining_since is not None:
                return
        try:
            await view.prove()
        except NotProvenError as exc:
            raise DoubtError("the session's last record was lost") from exc
        if self._fold.refused is None or self._fold.refused.code != "lane-busy":
            await self._empty_lane()
            if not watch.occupied:
                await self._tools.free.put(self.claim.lane)
        await self._channel.ack_claim()

    async def _empty_lane(self) -> None:
        """Nobody publishes inputs after the last record: take out what still lies there."""
        for held in self._holding:
            self._channel.ack(held.tag)
        await self._consume()
        while self._channel.alive and (self._discard_events() or await self._channel.count(self._input_queue)):
            await asyncio.sleep(0.05)

    def _discard_events(self) -> bool:
        """Answer who asks, take inputs out of the lane; whether there were any."""
        found = False
        while (event := self.inbox.pop()) is not None:
            match event:
                case Asked(request):
                    self._tools.answer(request, Reply(id=request.id, worker=self._tools.worker, sessions=[self.summary()]))
                case Delivered(delivery):
                    self._channel.ack(delivery.tag)
                    found = True
                case DrainAsked():
                    self._draining_since = self._loop.time()
                case _:
                    pass
        return found

    async def _refuse_busy(self, view: JournalView) -> None:
        """Two sessions in one lane: the later one is refused before it marks anything, and gives no token back."""
        nonce = self._writer.begin(0)
        self._writer.append(RecordKind.REFUSED, Refused(code="lane-busy", message="another session lives in this lane"))
        await read_mark(view, LaneWatch(self.claim.sid), nonce, within=self._settings.readback_seconds)
        await self._channel.ack_claim()

    async def _fenced(self, fence: FencedError) -> None:
        """Another claim's owner: this claim is surplus. The same claim's: it went to the other owner with the channel."""
        self._log.warning("fenced by another owner", claim=fence.claim_id)
        if fence.claim_id != self._channel.claim_id:
            await self._channel.ack_claim()

    # ------------------------------------------------------------------ hand-over

    def _drain(self, now: float) -> None:
        """Start nothing; leave when what runs has finished and is visible, or when the time is over."""
        if self._draining_since is None:
            return
        quiet = self._current().idle and not self._grid.running
        if quiet or now - self._draining_since > self._tools.drain_seconds:
            raise _HandedOverError

    async def _hand_over(self) -> None:
        """A fresh copy of the claim first: it counts no redeliveries, and a claim too many is harmless where one too few is not."""
        await publish_claim(self._tools.publisher, self.claim, f"{self.claim.sid.hex()}:{random.randbytes(8).hex()}")  # noqa: S311 - an id
        await self._channel.ack_claim()
        self._log.info("session handed over")
