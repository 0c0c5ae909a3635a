"""A bridge worker: takes claims of its cluster, owns their sessions, answers on the control exchange, tells that it is alive."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from bridge.connectors.base import Connector
from bridge.events import Asked, Doubted, DrainAsked, Heard
from bridge.metrics import BridgeMetrics
from bridge.outcomes import OutcomeCache
from bridge.owner import SessionOwner
from bridge.session import OwnerTools, SessionMemory
from bridge.settings import BridgeSettings
from broker.claims import ClaimSource, SessionChannel
from broker.control import ControlBus
from broker.dead import bury
from broker.errors import BrokerError
from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from runtime.logs import get_logger
from schemas.control import Acknowledge, Beat, ControlMessage, Doubt, Reply, Request, SessionSummary, Verb, beat_key, cluster_key, worker_key
from schemas.messages import decode_claim
from schemas.records import RecordError

__all__ = ["Worker"]

_REMEMBERED: Final = 10_000
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 15.0
_log = get_logger(__name__)


class Worker:
    """One worker process' work. An asynchronous context manager; ``run`` takes claims until it is told to drain.

    Args:
        name: The worker's name on the control exchange and in journals.
        settings: The configuration file.
        broker: Where everything lies.
        connector: The grid.
        metrics: What operators watch.
    """

    def __init__(self, *, name: str, settings: BridgeSettings, broker: Broker, connector: Connector, metrics: BridgeMetrics) -> None:
        self.name = name
        self._settings = settings
        self._broker = broker
        self._connector = connector
        self._metrics = metrics
        self._owners: dict[bytes, SessionOwner] = {}
        self._memories: OrderedDict[bytes, SessionMemory] = OrderedDict()
        self._publisher = Publisher(link=broker.publishing)
        self._live = Publisher(link=broker.publishing)
        self._source = ClaimSource(broker=broker, cluster=settings.cluster)
        keys = [worker_key(settings.cluster, name), cluster_key(settings.cluster)]
        self._bus = ControlBus(broker=broker, publisher=self._live, keys=keys, on_message=self._heard)
        self._outbox: asyncio.Queue[tuple[str, ControlMessage]] = asyncio.Queue()
        self._room = asyncio.Event()
        self._draining = asyncio.Event()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._publisher)
        await self._stack.enter_async_context(self._live)
        await self._stack.enter_async_context(self._bus)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.__aexit__(kind, error, trace)

    @property
    def sessions(self) -> int:
        """How many sessions it owns."""
        return len(self._owners)

    @property
    def ready(self) -> bool:
        """Whether it can be given sessions and be asked."""
        return self._broker.ready and self._bus.ready and not self._draining.is_set()

    async def run(self, stop: asyncio.Event) -> None:
        """Take claims until ``stop`` is set, then hand all sessions over."""
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._beat())
            sending = tasks.create_task(self._send())
            async with asyncio.TaskGroup() as owners:
                taking = owners.create_task(self._take_claims(owners))
                await stop.wait()
                await self._drain(taking)
            await self._send_beat()
            beating.cancel()
            sending.cancel()

    async def _drain(self, taking: asyncio.Task[None]) -> None:
        self._draining.set()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        _log.info("handing sessions over", sessions=len(self._owners))
        await self._send_beat()
        for owner in list(self._owners.values()):
            owner.inbox.put(DrainAsked())

    async def _take_claims(self, owners: asyncio.TaskGroup) -> None:
        while True:
            while len(self._owners) >= self._settings.worker.sessions:
                self._room.clear()
                await self._room.wait()
            channel = await self._source.next()
            owners.create_task(self._own(channel))

    async def _own(self, channel: SessionChannel) -> None:
        try:
            claim = decode_claim(channel.claim_body)
        except RecordError as exc:
            await self._bury_claim(channel, str(exc))
            return
        log = _log.bind(session=claim.sid.hex(), lane=claim.lane)
        if not await self._make_way(claim.sid, channel):
            return
        memory = self._memory(claim.sid)
        await self._pause_after_failures(memory)
        owner = SessionOwner(channel=channel, claim=claim, memory=memory, tools=self._tools(), log=log)
        self._owners[claim.sid] = owner
        self._metrics.sessions.set(len(self._owners))
        try:
            await owner.run()
            memory.failures = 0
        except* BrokerError as group:
            log.warning("session given up", reason=str(group.exceptions[0]))
        except* Exception:
            # The outermost edge of one session: its failure must not take the worker's other sessions along.
            memory.failures += 1
            log.exception("session failed; another owner will take it over")
        finally:
            del self._owners[claim.sid]
            owner.over.set()
            self._metrics.sessions.set(len(self._owners))
            self._room.set()

    async def _make_way(self, sid: bytes, channel: SessionChannel) -> bool:
        """Let a former owner of the same session in this process end first. False: the claim is surplus and was used up."""
        while (former := self._owners.get(sid)) is not None:
            if former.holds_other_claim(channel):
                # A claim that was published twice: one owner is enough.
                await channel.ack_claim()
                await channel.aclose()
                return False
            await former.give_up()
        return True

    async def _pause_after_failures(self, memory: SessionMemory) -> None:
        """A session that makes its owners fail must not keep two workers busy throwing it to each other."""
        if memory.failures:
            await asyncio.sleep(min(_FIRST_PAUSE * 2**memory.failures, _LONGEST_PAUSE))

    async def _bury_claim(self, channel: SessionChannel, reason: str) -> None:
        _log.error("claim cannot be read", reason=reason, claim=channel.claim_id)
        with contextlib.suppress(BrokerError):
            await bury(self._publisher, channel.claim_body, key=f"{self._settings.cluster}.claims", reason=reason)
            await channel.ack_claim()
        await channel.aclose()

    def _memory(self, sid: bytes) -> SessionMemory:
        memory = self._memories.pop(sid, None) or SessionMemory(cache=OutcomeCache(limit=self._settings.session.cache_bytes))
        self._memories[sid] = memory
        if len(self._memories) > _REMEMBERED:
            self._memories.popitem(last=False)
        return memory

    def _tools(self) -> OwnerTools:
        return OwnerTools(
            broker=self._broker,
            connector=self._connector,
            publisher=self._publisher,
            free=FreeLanes(broker=self._broker, cluster=self._settings.cluster, publisher=self._publisher),
            answer=lambda request, reply: self._outbox.put_nowait((request.reply_to, reply)),
            worker=self.name,
            settings=self._settings.session,
            lanes=self._settings.lanes,
            drain_seconds=self._settings.worker.drain_seconds,
        )

    # ------------------------------------------------------------------ control

    def _heard(self, message: ControlMessage) -> None:
        match message:
            case Acknowledge() | Doubt():
                owner = self._owners.get(message.sid)
                if owner is not None:
                    owner.inbox.put(Heard(message) if isinstance(message, Acknowledge) else Doubted())
            case Request():
                self._asked(message)
            case Reply() | Beat():
                pass

    def _asked(self, request: Request) -> None:
        match request.verb:
            case Verb.LIST:
                self._answer(request, self._summaries(lambda owner: owner.claim.principal == request.principal))
            case Verb.CLOSE_CONNECTION:
                wanted = [owner for owner in self._owners.values() if owner.claim.connection == request.connection]
                for owner in wanted:
                    owner.inbox.put(Asked(request))
                if not wanted:
                    self._answer(request, [])
            case _:
                addressed = self._owners.get(request.sid)
                if addressed is not None:
                    addressed.inbox.put(Asked(request))
                else:
                    self._answer(request, [], code="owner-unavailable")

    def _summaries(self, wanted: Callable[[SessionOwner], bool]) -> list[SessionSummary]:
        return [owner.summary() for owner in self._owners.values() if wanted(owner)]

    def _answer(self, request: Request, sessions: list[SessionSummary], *, code: str = "") -> None:
        self._outbox.put_nowait((request.reply_to, Reply(id=request.id, worker=self.name, code=code, sessions=sessions)))

    async def _send(self) -> None:
        while True:
            key, message = await self._outbox.get()
            try:
                await self._bus.send(key, message)
            except BrokerError as exc:
                _log.warning("a reply was not sent", reason=str(exc))

    async def _beat(self) -> None:
        while True:
            await self._send_beat()
            await asyncio.sleep(self._settings.worker.beat_seconds)

    async def _send_beat(self) -> None:
        beat = Beat(
            cluster=self._settings.cluster,
            worker=self.name,
            kind=self._connector.kind,
            applications=list(self._connector.applications),
            sessions=list(self._owners),
            capacity=self._settings.worker.sessions,
            slots=self._connector.slots,
            draining=self._draining.is_set(),
            sent_at=time.time(),
        )
        try:
            await self._bus.send(beat_key(self._settings.cluster), beat)
        except BrokerError as exc:
            _log.warning("heartbeat was not sent", reason=str(exc))
