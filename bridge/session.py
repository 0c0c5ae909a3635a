"""What a session's owner has in hand: shared by the parts of the owner, changed by one task only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

import msgspec

from bridge.connectors.base import Connector
from bridge.epoch import DoubtError, Epoch
from bridge.events import ChannelClosed, Delivered, Event, PublishFailed
from bridge.gridwork import GridWork
from bridge.holding import Holding
from bridge.inbox import Inbox
from bridge.intake import Intake
from bridge.lanewindow import LaneWindow
from bridge.outcomes import OutcomeCache
from bridge.settings import SessionSettings
from broker.claims import InputDelivery, SessionChannel
from broker.dead import bury
from broker.errors import BrokerError
from broker.journal.fold import Fold
from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from runtime.logs import Logger
from schemas.control import Reply, Request
from schemas.ids import FINGERPRINT_BYTES
from schemas.messages import Claim, InputHeaders, InputKind, SubmissionRange
from schemas.records import Closed, Refused, SessionControls, body_digest
from schemas.topology import ClusterTopology, LaneLimits

__all__ = ["OwnedSession", "OwnerTools", "SessionMemory", "Stage"]

_RETRY_SECONDS = 1.0


class SessionMemory(msgspec.Struct):
    """What a worker remembers of a session over step-downs; lost with the process, which costs runs and nothing else."""

    cache: OutcomeCache
    max_num: int = 0
    """The highest epoch number used, seen or heard of."""
    failures: int = 0
    """How often an owner of this session has failed here, one time after the other."""


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


class Stage(StrEnum):
    """How far an owned session has come."""

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    """The grid session is being ended."""
    LAST = "last"
    """The session's last record is on its way, or visible."""


class OwnedSession:
    """The state of one owned session, over all its epochs on one channel.

    Args:
        channel: Carries the claim.
        claim: The session.
        memory: What this worker remembers of it.
        tools: Shared with the worker's other owners.
        log: Bound to the session.
        tasks: Where work beside the owner runs.
    """

    def __init__(  # noqa: PLR0913 - the state that the owner's parts share
        self, *, channel: SessionChannel, claim: Claim, memory: SessionMemory, tools: OwnerTools, log: Logger, tasks: asyncio.TaskGroup, inbox: Inbox[Event]
    ) -> None:
        self.channel = channel
        self.claim = claim
        self.memory = memory
        self.tools = tools
        self.log = log
        self.inbox = inbox
        self.loop = asyncio.get_running_loop()
        self.topology = ClusterTopology(cluster=claim.cluster, lanes=claim.lane + 1, limits=tools.lanes)
        self.input_queue = self.topology.lane_input(claim.lane).name
        self.holding = Holding()
        self.grid = GridWork(connector=tools.connector, tell=inbox.put, room=self._room, tasks=tasks)
        self.intake = Intake(
            sid=claim.sid,
            initial=claim.common_data_key,
            holding=self.holding,
            grid=self.grid,
            cache=memory.cache,
            bury=self._bury,
            clock=time.time,
        )
        self.fold = Fold(claim.sid)
        self.epoch: Epoch | None = None
        self.stage = Stage.OPENING
        self.draining_since: float | None = None
        self.heard_at = self.loop.time()
        self.used = False
        self.safe = -1.0
        """What was visible at this time of the event loop may be given up."""
        self.doubted = False
        """A reader is stuck: the next fresh reading is due at once."""
        self.largest = 1024
        """Bytes of the largest output so far."""
        self.last_record: Closed | Refused | None = None
        self._tasks = tasks
        self._window = LaneWindow(
            channel=channel,
            queue=self.input_queue,
            sink=self._deliver,
            budget=tools.settings.held_bytes,
            most=tools.settings.prefetch,
            start=self.start,
        )
        self._beside: set[asyncio.Task[None]] = set()

    @property
    def settings(self) -> SessionSettings:
        """How sessions are owned."""
        return self.tools.settings

    @property
    def controls(self) -> SessionControls:
        """What commands have set."""
        return self.epoch.controls if self.epoch is not None else self.fold.controls

    def current(self) -> Epoch:
        """Return the epoch.

        Raises:
            DoubtError: None has begun.
        """
        if self.epoch is None:
            raise DoubtError("no epoch has begun")
        return self.epoch

    def heard(self) -> None:
        """Somebody named the session."""
        self.used = True
        self.heard_at = self.loop.time()

    def release(self) -> None:
        """Acknowledge the inputs that may go."""
        for tag in self.holding.release(acked=self.fold.acked, safe=self.safe):
            self.channel.ack(tag)

    async def consume(self) -> None:
        """Begin to take inputs, once per channel."""
        await self._window.open()

    def take(self, delivery: InputDelivery) -> None:
        """Take a message from the lane."""
        self.heard()
        self._window.weigh(self.intake.take(delivery))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the owner, within its life; its failure is a doubt, not the worker's end."""

        async def guarded() -> None:
            try:
                await work
            except BrokerError as exc:
                self.inbox.put(PublishFailed(exc, self.epoch.num if self.epoch is not None else 0))

        self.beside(guarded()).set_name("beside an owner")

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that tells its own failures beside the owner, within its life."""
        task = self._tasks.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    async def watch_channel(self) -> None:
        """Tell when the channel is gone."""
        await self.channel.closed.wait()
        self.inbox.put(ChannelClosed())

    async def put_fence(self, fence: bytes) -> None:
        """Put the end of a cancel by tag into the own lane."""
        run = SubmissionRange(fence, bytes(FINGERPRINT_BYTES), 1, 0, 1)
        headers = InputHeaders(sid=self.claim.sid, kind=InputKind.FENCE, ranges=(run,), digest=body_digest(b""))
        key = self.topology.input_key(self.claim.lane)
        await self.tools.publisher.publish(exchange=self.topology.exchange.name, key=key, body=b"", headers=headers.to_table())

    async def let_go(self) -> None:
        """End all work beside the owner, and the grid session."""
        for task in self._beside:
            task.cancel()
        await self.grid.close(destroy=self.stage is Stage.LAST)

    def _deliver(self, delivery: InputDelivery) -> None:
        self.inbox.put(Delivered(delivery))

    def _bury(self, delivery: InputDelivery, done: Callable[[], None]) -> None:
        """Copy a message to the dead letters, as often as it takes."""

        async def copy() -> None:
            while True:
                try:
                    await bury(self.tools.publisher, delivery.body, key=self.input_queue, reason="cannot be read", headers=delivery.headers)
                except BrokerError as exc:
                    self.log.warning("dead letter could not be stored yet", reason=str(exc))
                    await asyncio.sleep(_RETRY_SECONDS)
                else:
                    return done()

        self.start(copy())

    def _room(self) -> int:
        """How many more tasks may start: what they may put out has to fit into the quota of unacknowledged outputs."""
        if self.epoch is None or self.draining_since is not None or self.stage is not Stage.OPEN:
            return 0
        running = len(self.grid.running)
        left = self.tools.lanes.output_quota - self.epoch.unacked_bytes - running * self.largest
        return max(0, min(left // self.largest, self.settings.outputs_in_flight - running))
