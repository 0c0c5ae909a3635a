"""Bundles task inputs: while one message of a session waits for its confirm, what else arrives is collected and sent as the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from broker.errors import BrokerError
from broker.publishing import Publisher
from gateway.metrics import GatewayMetrics
from schemas.ids import SessionId
from schemas.messages import InputHeaders, InputKind, SubmissionRange, TaskInput, encode_inputs
from schemas.records import body_digest
from schemas.topology import ClusterTopology

__all__ = ["BUNDLE_BYTES", "Bundler", "Bundlers", "Part", "split"]

BUNDLE_BYTES: Final = 256 * 1024
"""A message stays below this unless a single task is larger (E4)."""

_RANGES: Final = 400
"""A message's headers must fit one AMQP frame of 128 KiB; a range takes some 70 bytes."""

_PER_TASK: Final = 16
_FULL_IN_FLIGHT: Final = 8
"""Full messages gain nothing by waiting for each other's confirms."""


class Part(msgspec.Struct, eq=False, kw_only=True):
    """A run of tasks of one submission that goes into one message as a whole."""

    run: SubmissionRange
    inputs: Sequence[TaskInput]
    size: int
    stored: asyncio.Future[None]
    """Done when the broker has confirmed it; fails as ``Publisher.publish`` does."""


def split(key: bytes, fp: bytes, of: int, items: Sequence[tuple[int, TaskInput]]) -> list[Part]:
    """Cut a submission into parts of consecutive tasks, each below the size of a message.

    Args:
        key: The hash of the submission's ``Idempotency-Key``.
        fp: The fingerprint of its body.
        of: How many tasks the request has, refused ones included.
        items: The tasks that are sent, each with its index in the request.
    """
    loop = asyncio.get_running_loop()
    parts: list[Part] = []
    inputs: list[TaskInput] = []
    first = size = 0
    for index, item in items:
        weight = len(item.payload) + _PER_TASK + len(item.tag)
        if inputs and (size + weight > BUNDLE_BYTES or index != first + len(inputs)):
            parts.append(Part(run=SubmissionRange(key, fp, of, first, len(inputs)), inputs=inputs, size=size, stored=loop.create_future()))
            inputs, size = [], 0
        if not inputs:
            first = index
        inputs.append(item)
        size += weight
    if inputs:
        parts.append(Part(run=SubmissionRange(key, fp, of, first, len(inputs)), inputs=inputs, size=size, stored=loop.create_future()))
    return parts


class Bundler:
    """The outgoing side of one session's lane. Nothing waits for a timer: an idle lane's input leaves at once.

    Args:
        publisher: Publishes confirmed; keeps the order of its calls.
        session: Whose lane.
        metrics: Counts messages.
    """

    def __init__(self, *, publisher: Publisher, session: SessionId, metrics: GatewayMetrics) -> None:
        topology = ClusterTopology(cluster=session.cluster)
        self._publisher = publisher
        self._sid = session.sid
        self._exchange = topology.exchange.name
        self._key = topology.input_key(session.lane)
        self._metrics = metrics
        self._waiting: deque[Part] = deque()
        self._waiting_bytes = 0
        self._in_flight = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._waiting and not self._in_flight

    def add(self, parts: Sequence[Part]) -> None:
        """Send parts, as soon as the broker keeps up."""
        self._waiting.extend(parts)
        self._waiting_bytes += sum(part.size for part in parts)
        self._pump()

    def _pump(self) -> None:
        while self._waiting and (not self._in_flight or (self._waiting_bytes >= BUNDLE_BYTES and self._in_flight < _FULL_IN_FLIGHT)):
            self._send(self._next())

    def _next(self) -> list[Part]:
        bundle = [self._waiting.popleft()]
        size = bundle[0].size
        while self._waiting and size + self._waiting[0].size <= BUNDLE_BYTES and len(bundle) < _RANGES:
            part = self._waiting.popleft()
            size += part.size
            bundle.append(part)
        self._waiting_bytes -= size
        return bundle

    def _send(self, bundle: list[Part]) -> None:
        body = encode_inputs([item for part in bundle for item in part.inputs])
        headers = InputHeaders(sid=self._sid, kind=InputKind.INPUTS, ranges=[part.run for part in bundle], digest=body_digest(body))
        self._in_flight += 1
        confirmed = self._publisher.post(exchange=self._exchange, key=self._key, body=body, headers=headers.to_table())
        confirmed.add_done_callback(lambda done: self._settle(bundle, done))

    def _settle(self, bundle: list[Part], confirmed: asyncio.Future[None]) -> None:
        self._in_flight -= 1
        failure = asyncio.CancelledError() if confirmed.cancelled() else confirmed.exception()
        self._metrics.messages.labels("stored" if failure is None else type(failure).__name__).inc()
        for part in bundle:
            if part.stored.done():
                continue
            if failure is None:
                part.stored.set_result(None)
            elif isinstance(failure, Exception):
                part.stored.set_exception(failure)
            else:
                part.stored.cancel()
        self._pump()


async def _outcome(part: Part) -> BrokerError | None:
    try:
        await part.stored
    except BrokerError as exc:
        return exc
    return None


class Bundlers:
    """The bundlers of the sessions that are being submitted to right now.

    Args:
        publisher: Shared by all.
        metrics: Counts messages.
    """

    def __init__(self, *, publisher: Publisher, metrics: GatewayMetrics) -> None:
        self._publisher = publisher
        self._metrics = metrics
        self._bundlers: dict[bytes, Bundler] = {}

    async def store(self, session: SessionId, parts: Sequence[Part]) -> list[BrokerError | None]:
        """Publish the parts of one submission; return for each how it failed, or None when it is stored."""
        bundler = self._bundlers.get(session.sid)
        if bundler is None:
            bundler = self._bundlers[session.sid] = Bundler(publisher=self._publisher, session=session, metrics=self._metrics)
        bundler.add(parts)
        try:
            return [await _outcome(part) for part in parts]
        finally:
            if bundler.idle:
                self._bundlers.pop(session.sid, None)
