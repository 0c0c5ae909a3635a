"""A session's whole life in virtual time: real owners, readers and polls over a lane in memory, and a client that checks what it gets."""

from __future__ import annotations

import asyncio
import contextlib
import random
from types import SimpleNamespace
from typing import Any, cast

from bridge.events import Doubted, Heard
from bridge.outcomes import OutcomeCache
from bridge.owner import SessionOwner
from bridge.session import OwnerTools, SessionMemory
from bridge.settings import SessionSettings
from broker.errors import BrokerError
from gateway.polling import Page, Poll, Polling
from gateway.problems import ProblemError
from gateway.readers import Readers
from gateway.settings import Limits
from runtime.logs import get_logger
from schemas.control import Acknowledge
from schemas.cursors import START, Cursor
from schemas.ids import Position, SessionId, fingerprint, key_hash, task_id
from schemas.messages import Claim, InputHeaders, InputKind, SubmissionRange, TaskInput, decode_claim, encode_claim, encode_inputs
from schemas.records import body_digest
from schemas.symphony import SessionCreationAttributes
from schemas.topology import LaneLimits
from tests.support.simfaults import Faults
from tests.support.simgrid import SimGrid
from tests.support.simlane import SimBroker, SimChannel, SimLane, SimPublisher

__all__ = ["BrokenPromiseError", "SimWorld"]

SID = b"s" * 16
_SESSION = SessionId(sid=SID, cluster="sim", lane=0, grid="G", application="echo", principal="p", connection=b"c" * 16, born=Position(0, "seed"))


class BrokenPromiseError(AssertionError):
    """Raised when a client got what it must not get, or did not get what it must."""


class SimWorld:
    """Workers, gateways, a client and a lane.

    Args:
        seed: Decides everything.
        faults: What may go wrong on the lane.
        workers: How many bridge workers there are.
        tasks: How many tasks the client submits.
    """

    def __init__(self, seed: int, faults: Faults, *, workers: int = 3, tasks: int = 10) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - a simulation
        self.lane = SimLane(self.rng, faults)
        self.faults = faults
        self.broker = SimBroker(self.lane, silent=True)
        self.grid = SimGrid(self.rng)
        self.loop = asyncio.get_running_loop()
        self.owners: dict[str, SessionOwner] = {}
        self.names = [f"w{index}" for index in range(workers)]
        self.cache_bytes = self.rng.choice([0, 0, 1 << 20])
        self.bundles: list[tuple[InputHeaders, bytes]] = []
        self.accepted: set[bytes] = set()
        self.received: dict[bytes, bytes | None] = {}
        self.seen: dict[int, tuple[bytes, bytes | None]] = {}
        self.cursor = START
        self.ever_rewound = False
        self.repeats = 0
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._spawned: set[asyncio.Task[None]] = set()
        self._incarnations: dict[str, asyncio.Task[None]] = {}
        self._gateways = [self._gateway(), self._gateway()]

    # ------------------------------------------------------------------ workers

    def start_worker(self, name: str) -> None:
        """Start a worker process: it remembers nothing."""
        task = self.loop.create_task(self._work(name))
        self._incarnations[name] = task
        self._running.add(task)

    def crash(self, name: str) -> None:
        """End a worker process at once; another one takes its place a second later."""
        owner = self.owners.pop(name, None)
        for channel in list(self.lane.channels):
            if owner is not None and cast("object", owner._channel) is channel:
                channel.cut(0.0)
        self._incarnations[name].cancel()
        self.loop.call_later(1.0, self.start_worker, name)

    async def _work(self, name: str) -> None:
        memory = SessionMemory(cache=OutcomeCache(limit=self.cache_bytes))
        while True:
            while not self.lane.claims:
                await self.lane.changed.wait()
            await asyncio.sleep(self.rng.uniform(0.001, 0.2))
            if not self.lane.claims:
                continue
            channel = SimChannel(self.lane, self.lane.claims.popleft())
            owner = SessionOwner(
                channel=cast("Any", channel), claim=decode_claim(channel.claim_body), memory=memory, tools=self._tools(name), log=get_logger(name)
            )
            self.owners[name] = owner
            try:
                await owner.run()
            except* BrokerError:
                pass
            finally:
                await channel.aclose()
                if self.owners.get(name) is owner:
                    del self.owners[name]

    def _tools(self, name: str) -> OwnerTools:
        settings = SessionSettings(ack_delay=self.faults.delay, reading_seconds=0.5, idle_reading_seconds=2.0, readback_seconds=2.0, unused_seconds=10000)
        return OwnerTools(
            broker=cast("Any", self.broker),
            connector=self.grid,
            publisher=cast("Any", SimPublisher(link=self.broker)),
            free=cast("Any", SimpleNamespace()),
            answer=lambda _request, _reply: None,
            worker=name,
            settings=settings,
            lanes=LaneLimits(),
            drain_seconds=2.0,
        )

    # ------------------------------------------------------------------ gateways

    def note(self, reader: object, cursor: Cursor) -> None:
        """What a poll tells the owner; it may get lost."""
        del reader
        self.tell_ahead(_SESSION, cursor)

    def tell_ahead(self, session: SessionId, cursor: Cursor) -> None:
        """The same, for a cursor that no reader could place."""
        if cursor.num and self.rng.random() >= self.faults.slow:
            ack = Acknowledge(sid=session.sid, num=cursor.num, nonce=cursor.nonce, next=cursor.next)
            for owner in self.owners.values():
                owner.inbox.put(Heard(ack))

    def tell_doubt(self, reader: object) -> None:
        """A reader is stuck at a gap."""
        del reader
        for owner in self.owners.values():
            owner.inbox.put(Doubted())

    def _gateway(self) -> Polling:
        def spawn(work: Any) -> asyncio.Task[None]:  # noqa: ANN401 - a coroutine
            task = self.loop.create_task(work)
            self._spawned.add(task)
            task.add_done_callback(self._spawned.discard)
            return task

        readers = Readers(broker=cast("Any", SimBroker(self.lane, silent=True)), limits=Limits(), spawn=spawn)
        return Polling(readers=readers, acknowledger=cast("Any", self), draining=lambda: False)

    # ------------------------------------------------------------------ the client

    def submit(self) -> None:
        """Send a new submission of one to three tasks, or one that was sent before."""
        if self.bundles and self.rng.random() < 0.2:
            headers, body = self.rng.choice(self.bundles)
        else:
            count = self.rng.randint(1, 3)
            run = SubmissionRange(key_hash(SID, str(len(self.bundles))), fingerprint(b""), count, 0, count)
            body = encode_inputs([TaskInput(b"x")] * count)
            headers = InputHeaders(sid=SID, kind=InputKind.INPUTS, ranges=(run,), digest=body_digest(body))
            self.bundles.append((headers, body))
            self.accepted.update(task_id(run.key, run.fp, index) for index in range(count))
        self.lane.put_input("m", headers.to_table(), body)

    @property
    def submitted(self) -> bool:
        """Whether the client has sent all it wants to."""
        return len(self.accepted) >= self._tasks

    async def poll(self) -> None:
        """Poll any gateway, warm or cold, and check the answer."""
        index = self.rng.randrange(2)
        if self.rng.random() < 0.4:
            self._gateways[index] = self._gateway()
        count = self.rng.choice([1, 2, 50])
        before = self.lane.losses
        poll = Poll(session=_SESSION, cursor=self.cursor, count=count, limit=1 << 20, until=self.loop.time() + 0.3)
        try:
            page = await self._gateways[index].poll(poll)
        except (ProblemError, BrokerError, TimeoutError):
            return
        self._check(page, before)

    def _check(self, page: Page, losses: int) -> None:
        if page.rewound:
            if not losses and not self.lane.losses:
                raise BrokenPromiseError("rewound without a loss")
            self.ever_rewound = True
            first = page.outputs[0].number if page.outputs else page.cursor.next
            self.seen = {number: was for number, was in self.seen.items() if number < first}
        elif page.outputs and page.outputs[0].number != self.cursor.next:
            raise BrokenPromiseError(f"output {page.outputs[0].number} where {self.cursor.next} was due")
        for one in page.outputs:
            task, payload = one.output.task_id, one.output.payload
            if self.seen.setdefault(one.number, (task, payload)) != (task, payload):
                raise BrokenPromiseError(f"number {one.number} has two contents")
            if task in self.received:
                self.repeats += 1
                if not self.ever_rewound:
                    raise BrokenPromiseError(f"task {task.hex()} was shown twice")
            self.received[task] = payload
        self.cursor = page.cursor

    # ------------------------------------------------------------------ a run

    def claim(self, claim_id: str) -> None:
        """Put a claim for the session."""
        value = Claim(
            sid=SID,
            cluster="sim",
            lane=0,
            grid="G",
            application="echo",
            principal="p",
            connection=b"c" * 16,
            attributes=SessionCreationAttributes(),
            born=Position(0, "seed"),
            created_at=0.0,
        )
        self.lane.claims.append((claim_id, encode_claim(value)))
        self.lane.tell()

    async def settle(self, seconds: float) -> None:
        """Nothing goes wrong any more: everybody goes on until the client has everything and no input is left.

        Raises:
            BrokenPromiseError: That does not happen.
        """
        self.faults.refused = self.faults.unconfirmed = self.faults.twice = self.faults.slow = 0.0
        end = self.loop.time() + seconds
        while self.received.keys() < self.accepted or not self.lane.empty:
            if self.loop.time() > end:
                missing = self.accepted - self.received.keys()
                raise BrokenPromiseError(f"{len(missing)} tasks missing, inputs left: {not self.lane.empty}; {self.describe()}")
            if self.lane.unclaimed:
                self.claim(f"sweep{self.loop.time()}")
            await self.poll()
            await asyncio.sleep(0.2)

    def describe(self) -> str:
        """What the journal says, for whoever looks into a failure."""
        rows = (f"{r.offset}:{r.headers.get('kind')}/{r.headers.get('num')}/{r.headers.get('pub')}#{r.headers.get('first', '')}" for r in self.lane.log)
        return f"cursor {self.cursor.num} {self.cursor.next}; {' '.join(rows)}"

    async def aclose(self) -> None:
        """End everything."""
        everybody = [*self._running, *self._spawned]
        for task in everybody:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.gather(*everybody, return_exceptions=True)
