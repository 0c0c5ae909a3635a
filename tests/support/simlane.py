"""One lane of a broker in memory that may do to its clients whatever a real one can: delay, refuse, store twice, lose its newest records.

The parts stand in for ``Publisher`` and ``SessionChannel``: everything above them in a test is the real code.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from broker.claims import InputDelivery
from broker.errors import BrokerUnavailableError, UnconfirmedError
from broker.journal.stream import StreamRecord
from tests.support.simfaults import Faults

__all__ = ["LostReader", "SimBroker", "SimChannel", "SimLane", "SimPublisher"]


class LostReader(Protocol):
    """A reader that may be lost."""

    broken: bool

    def cut(self, kept: int) -> None:
        """Records from ``kept`` on were lost."""


class SimLane:
    """A journal, the input side beside it, and the claims of its one session.

    Args:
        rng: Decides everything that is left to chance.
        faults: What may go wrong.
    """

    def __init__(self, rng: random.Random, faults: Faults) -> None:
        self.rng = rng
        self.faults = faults
        self.log: list[StreamRecord] = [StreamRecord(0, "seed", {}, b"")]
        self.times = [-1000.0]
        self.inputs: deque[tuple[str, Mapping[str, object], bytes]] = deque()
        self.claims: deque[tuple[str, bytes]] = deque()
        self.channels: list[SimChannel] = []
        self.readers: list[LostReader] = []
        self.losses = 0
        self.changed = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def pause(self) -> float:
        """Seconds that something takes."""
        slow = self.rng.random() < self.faults.slow
        return self.rng.uniform(0.5, 4.0) if slow else self.rng.uniform(0.001, 0.05)

    def append(self, message_id: str, headers: Mapping[str, object], body: bytes) -> None:
        """Store a record."""
        for _ in range(2 if self.rng.random() < self.faults.twice else 1):
            self.log.append(StreamRecord(len(self.log), message_id, headers, body))
            self.times.append(self.loop.time())
        self.tell()

    def lose(self, most: int) -> None:
        """Lose up to ``most`` of the newest records.

        Readers that stood behind the cut lose their connection, but for those that shall not notice (``SimBroker.silent``).
        """
        kept = len(self.log)
        while kept > 1 and most and self.loop.time() - self.times[kept - 1] < self.faults.delay:
            kept, most = kept - 1, most - 1
        if kept < len(self.log):
            self.losses += 1
            del self.log[kept:], self.times[kept:]
            for reader in self.readers:
                reader.cut(kept)
            self.tell()

    def put_input(self, message_id: str, headers: Mapping[str, object], body: bytes) -> None:
        """Store an input."""
        self.inputs.append((message_id, headers, body))
        self.pump()

    def pump(self) -> None:
        """Hand inputs to whoever consumes."""
        ready = [channel for channel in self.channels if channel.takes]
        while self.inputs and ready:
            self.rng.choice(ready).deliver(self.inputs.popleft())

    def tell(self) -> None:
        """Wake whoever waits for a change."""
        former, self.changed = self.changed, asyncio.Event()
        former.set()

    @property
    def unclaimed(self) -> bool:
        """Whether the session's claim is neither waiting nor held."""
        return not self.claims and not any(channel.claim is not None for channel in self.channels)

    @property
    def empty(self) -> bool:
        """Whether no input is left, held ones included."""
        return not self.inputs and not any(channel.held for channel in self.channels)


class SimBroker:
    """What stands for a broker's connections.

    Args:
        lane: The lane.
        silent: Whether its readers are re-opened at their next offset after a loss, unaware of what was lost below.
    """

    blocked = False

    def __init__(self, lane: SimLane, *, silent: bool = False) -> None:
        self.lane = lane
        self.silent = silent
        self.publishing = self


class SimPublisher:
    """Publishes in order; what is on its way when its process dies still arrives."""

    def __init__(self, *, link: SimBroker) -> None:
        self._lane = link.lane
        self._last = 0.0

    def post(self, *, exchange: str, key: str, body: bytes, headers: Mapping[str, int | str], message_id: str) -> asyncio.Future[None]:
        """Publish; the future is the confirm."""
        lane = self._lane
        del exchange
        assert key.endswith(".out")
        confirmed: asyncio.Future[None] = lane.loop.create_future()
        self._last = max(self._last + 1e-6, lane.loop.time() + lane.pause())
        lane.loop.call_at(self._last, self._arrive, confirmed, message_id, headers, body)
        return confirmed

    async def publish(self, *, exchange: str, key: str, body: bytes, headers: Mapping[str, int | str] | None = None, message_id: str = "") -> None:
        """Publish a claim or an input, confirmed."""
        del exchange
        await asyncio.sleep(self._lane.pause())
        if key == "claims":
            self._lane.claims.append((message_id, body))
            self._lane.tell()
        else:
            self._lane.put_input(message_id, headers or {}, body)

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _arrive(self, confirmed: asyncio.Future[None], message_id: str, headers: Mapping[str, object], body: bytes) -> None:
        lane = self._lane
        refused = lane.rng.random() < lane.faults.refused
        if not refused:
            lane.append(message_id, headers, body)
        unknown = refused or lane.rng.random() < lane.faults.unconfirmed
        lane.loop.call_later(lane.rng.uniform(0.001, 0.3), _settle, confirmed, unknown)


def _settle(confirmed: asyncio.Future[None], unknown: bool) -> None:  # noqa: FBT001 - a call-back's argument
    if confirmed.done():
        return
    if unknown:
        confirmed.set_exception(UnconfirmedError("lost on its way"))
        confirmed.exception()
    else:
        confirmed.set_result(None)


class SimChannel:
    """A session's channel: it holds a claim and inputs until they are acknowledged or given back."""

    def __init__(self, lane: SimLane, claim: tuple[str, bytes]) -> None:
        self.claim_id, self.claim_body = claim
        self.claim: tuple[str, bytes] | None = claim
        self.held: dict[int, tuple[str, Mapping[str, object], bytes]] = {}
        self.alive = True
        self.closed = asyncio.Event()
        self._lane = lane
        self._sink: Callable[[InputDelivery], None] | None = None
        self._tags = 0
        self._cut = False
        lane.channels.append(self)

    @property
    def takes(self) -> bool:
        """Whether inputs may be delivered here."""
        return self._sink is not None and not self._cut

    async def probe(self, queue: str, within: float) -> None:
        """Make one round trip."""
        del queue, within
        await asyncio.sleep(self._lane.pause())
        if self._cut or not self.alive:
            self._die()
            raise BrokerUnavailableError("the channel was lost")

    async def consume(self, queue: str, *, prefetch: int, sink: Callable[[InputDelivery], None]) -> None:
        """Begin to take inputs."""
        del queue, prefetch
        self._sink = sink
        self._lane.pump()

    def deliver(self, message: tuple[str, Mapping[str, object], bytes]) -> None:
        """Hand a message over; it arrives a moment later."""
        self._tags += 1
        self.held[self._tags] = message
        delivery = InputDelivery(tag=self._tags, headers=message[1], body=message[2], message_id=message[0], delivery_count=0, redelivered=False)
        self._lane.loop.call_later(self._lane.rng.uniform(0.001, 0.02), self._take, delivery)

    def ack(self, delivery_tag: int) -> None:
        """Use a message up; no effect on one that was given back."""
        self.held.pop(delivery_tag, None)

    async def ack_claim(self) -> None:
        """Use the claim up."""
        self.claim = None

    async def count(self, queue: str) -> int:
        """How many inputs wait."""
        del queue
        return len(self._lane.inputs)

    def give_back(self, *, claim: bool, inputs: bool) -> None:
        """A partition between the nodes of channel and queue: what was held goes to others, and the channel stays up."""
        lane = self._lane
        if inputs:
            lane.inputs.extendleft(reversed(self.held.values()))
            self.held.clear()
        if claim and self.claim is not None:
            lane.claims.append(self.claim)
            self.claim = None
        lane.tell()
        lane.pump()

    def cut(self, noticed_after: float) -> None:
        """The connection is gone; this side notices later."""
        self._cut = True
        self.give_back(claim=True, inputs=True)
        self._lane.loop.call_later(noticed_after, self._die)

    def abandon(self) -> None:
        """Take the session for lost."""
        self.alive = False
        self.closed.set()

    async def aclose(self) -> None:
        """Give everything back."""
        self._die()

    def _die(self) -> None:
        if self in self._lane.channels:
            self._cut = True
            self._lane.channels.remove(self)
            self.give_back(claim=True, inputs=True)
        self.abandon()

    def _take(self, delivery: InputDelivery) -> None:
        if self.alive and self._sink is not None:
            self._sink(delivery)
