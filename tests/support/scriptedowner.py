"""A session owner that speaks just enough of the journal protocol for a gateway's tests: it echoes inputs and does what session names say."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from broker.claims import ClaimSource, InputDelivery, SessionChannel
from broker.control import ControlBus
from broker.journal.writer import JournalWriter
from broker.lanes import FreeLanes
from broker.link import Broker
from broker.publishing import Publisher
from schemas.control import Acknowledge, Beat, ControlMessage, Reply, Request, SessionSummary, Verb, beat_key, cluster_key, worker_key
from schemas.ids import task_id
from schemas.messages import Claim, InputHeaders, InputKind, decode_claim, decode_inputs
from schemas.records import Closed, EpochBase, Mark, Opened, Outputs, RecordKind, Refused, SessionControls, Snapshot, StateChange, TaskOutput
from schemas.symphony import ErrorType, SymphonyException
from schemas.topology import ClusterTopology

__all__ = ["ScriptedOwner", "ScriptedSession"]

_BEAT_SECONDS = 0.5


class ScriptedSession:
    """One session. Its name is its script: ``refuse:CODE`` is refused with that code, ``silent`` is never opened, all others are opened.

    An input whose payload is ``fail`` ends as a failed output; with ``hoard`` set, deliveries are kept.
    """

    def __init__(self, *, claim: Claim, channel: SessionChannel, publisher: Publisher, worker: str) -> None:
        self.claim = claim
        self.channel = channel
        self.next = 1
        self.acked = 1
        self.acks: list[Acknowledge] = []
        self.inputs: list[bytes] = []
        self.tags: list[str] = []
        self.common: list[bytes] = []
        self.deliveries: list[InputDelivery] = []
        self.controls = SessionControls(opened=True)
        self.commands: list[Request] = []
        self.closed = False
        self.hoard = False
        """Keep deliveries unacknowledged and unanswered until ``release``."""
        self._seen: set[bytes] = set()
        self._writer = JournalWriter(publisher=publisher, cluster=claim.cluster, lane=claim.lane, sid=claim.sid, worker=worker)

    async def open(self) -> None:
        """Write the beginning of the journal and take inputs."""
        nonce = self._writer.begin(1)
        self._writer.append(RecordKind.MARK, Mark(self.channel.claim_id))
        history = [EpochBase(1, nonce, 1)]
        self._writer.append(RecordKind.SNAP, Snapshot(part=1, parts=1, at=1, acked=1, upto=1, history=history))
        name = str(self.claim.attributes.name)
        if name.startswith("refuse:"):
            self._writer.append(RecordKind.REFUSED, Refused(code=name.partition(":")[2], message="as the script says"))
            await self._writer.aclose()
            self.closed = True
            return
        if name == "silent":
            return
        self._writer.append(RecordKind.OPENED, Opened(native_id=f"native-{self.claim.lane}"))
        await self._writer.aclose()
        await self.channel.consume(
            ClusterTopology(cluster=self.claim.cluster).lane_input(self.claim.lane).name, prefetch=4 if name == "hoard" else 100, sink=self.take
        )

    def take(self, delivery: InputDelivery) -> None:
        """Answer one message of inputs."""
        self.deliveries.append(delivery)
        if not self.hoard:
            self.answer(delivery)

    def release(self) -> None:
        """Answer what was hoarded, and everything from now on."""
        self.hoard = False
        for delivery in self.deliveries:
            self.answer(delivery)

    def answer(self, delivery: InputDelivery) -> None:
        """Echo a message's inputs and acknowledge it."""
        headers = InputHeaders.from_table(delivery.headers)
        if headers.kind is InputKind.COMMON:
            self.common.append(delivery.body)
        else:
            inputs = decode_inputs(headers, delivery.body)
            ids = [task_id(run.key, run.fp, index) for run in headers.ranges for index in range(run.first, run.first + run.count)]
            sizes = [run.of for run in headers.ranges for _ in range(run.count)]
            fresh = [(tid, of, item) for tid, of, item in zip(ids, sizes, inputs, strict=True) if tid not in self._seen]
            self._seen.update(ids)
            self.inputs += [item.payload for _, _, item in fresh]
            self.tags += [item.tag for _, _, item in fresh]
            self.emit([_output(tid, of, item.tag, item.payload) for tid, of, item in fresh])
        self.channel.ack(delivery.tag)

    def emit(self, outputs: list[TaskOutput]) -> None:
        """Append one record of outputs."""
        if outputs:
            self._writer.append(RecordKind.OUTS, Outputs(outputs), first=self.next, acked=self.acked)
            self.next += len(outputs)

    def acknowledge(self, message: Acknowledge) -> None:
        """Take a client's position and show it in the journal."""
        self.acks.append(message)
        if message.next > self.acked:
            self.acked = min(message.next, self.next)
            self._writer.append(RecordKind.STATE, StateChange(acked=self.acked, controls=self.controls), acked=self.acked)

    async def close(self, lanes: FreeLanes) -> None:
        """End the session: ``closed``, token, claim."""
        if self.closed:
            return
        self.closed = True
        self._writer.append(RecordKind.CLOSED, Closed(last=self.next - 1, reason="asked for"))
        await self._writer.aclose()
        await lanes.put(self.claim.lane)
        await self.channel.ack_claim()
        await self.channel.aclose()

    def summary(self) -> SessionSummary:
        """Describe the session as owners do."""
        claim = self.claim
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
            name=str(claim.attributes.name or ""),
            state="closed" if self.closed else "suspended" if self.controls.suspended else "open",
            native_id=f"native-{claim.lane}",
            created_at=claim.created_at,
            received=len(self.inputs),
            done=self.next - 1,
            acked=self.acked - 1,
            last=self.next - 1,
        )


class ScriptedOwner:
    """A worker whose sessions are scripted. Async context manager.

    Args:
        broker: The broker.
        publisher: Publishes records and replies.
        cluster: Whose claims to take.
        worker: Its name.
    """

    def __init__(self, *, broker: Broker, publisher: Publisher, cluster: str, worker: str = "scripted") -> None:
        self.sessions: dict[bytes, ScriptedSession] = {}
        self.deaf = False
        self._cluster = cluster
        self._worker = worker
        self._publisher = publisher
        self._claims = ClaimSource(broker=broker, cluster=cluster)
        self._lanes = FreeLanes(broker=broker, cluster=cluster, publisher=publisher)
        self._bus = ControlBus(broker=broker, publisher=publisher, keys=[worker_key(cluster, worker), cluster_key(cluster)], on_message=self._hear)
        self._tasks = asyncio.TaskGroup()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._bus.__aenter__()
        await self._bus.wait_ready(10)
        await self._tasks.__aenter__()
        self._loops = [self._tasks.create_task(self._take_claims()), self._tasks.create_task(self._beat())]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for loop in self._loops:
            loop.cancel()
        await self._tasks.__aexit__(kind, error, trace)
        for session in self.sessions.values():
            await session.channel.aclose()
        await self._lanes.aclose()
        await self._bus.__aexit__(kind, error, trace)

    @property
    def session(self) -> ScriptedSession:
        """The session that came last."""
        return list(self.sessions.values())[-1]

    async def _take_claims(self) -> None:
        while True:
            channel = await self._claims.next()
            claim = decode_claim(channel.claim_body)
            session = ScriptedSession(claim=claim, channel=channel, publisher=self._publisher, worker=self._worker)
            self.sessions[claim.sid] = session
            await session.open()
            if session.closed:
                await self._lanes.put(claim.lane)
                await channel.ack_claim()
                await channel.aclose()

    async def _beat(self) -> None:
        while True:
            await self._bus.send(beat_key(self._cluster), self.beat())
            await asyncio.sleep(_BEAT_SECONDS)

    def beat(self) -> Beat:
        """Return what this worker says about itself."""
        return Beat(
            cluster=self._cluster,
            worker=self._worker,
            kind="scripted",
            applications=["echo"],
            sessions=[sid for sid, session in self.sessions.items() if not session.closed],
            capacity=100,
            slots=1,
            sent_at=time.time(),
        )

    def _hear(self, message: ControlMessage) -> None:
        if self.deaf:
            return
        match message:
            case Acknowledge() if message.sid in self.sessions:
                self.sessions[message.sid].acknowledge(message)
            case Request():
                self._tasks.create_task(self._obey(message))
            case _:
                pass

    async def _obey(self, request: Request) -> None:
        reply = Reply(id=request.id, worker=self._worker)
        session = self.sessions.get(request.sid)
        match request.verb:
            case Verb.LIST:
                mine = [session.summary() for session in self.sessions.values() if session.claim.principal == request.principal and not session.closed]
                reply = Reply(id=request.id, worker=self._worker, sessions=mine)
            case Verb.CLOSE_CONNECTION:
                for owned in list(self.sessions.values()):
                    if owned.claim.connection == request.connection:
                        await owned.close(self._lanes)
            case _ if session is None:
                reply = Reply(id=request.id, worker=self._worker, code="unknown-session")
            case _:
                reply = await self._command(session, request)
        await self._bus.send(request.reply_to, reply)

    async def _command(self, session: ScriptedSession, request: Request) -> Reply:
        session.commands.append(request)
        if request.verb is Verb.CLOSE:
            await session.close(self._lanes)
        elif request.verb in {Verb.SUSPEND, Verb.RESUME}:
            session.controls = SessionControls(opened=True, suspended=request.verb is Verb.SUSPEND)
        return Reply(id=request.id, worker=self._worker, sessions=[session.summary()])


def _output(tid: bytes, of: int, tag: str, payload: bytes) -> TaskOutput:
    if payload == b"fail":
        exception = SymphonyException(error_type=ErrorType.FAILURE, code="service-exception", message="as the input says")
        return TaskOutput(tid, of, tag, time.time(), None, exception)
    return TaskOutput(tid, of, tag, time.time(), payload)
