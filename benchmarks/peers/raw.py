"""The floor of one task's round trip: plain aio-pika, one task in flight, a durable quorum queue in and a stream out, one process."""

from __future__ import annotations

import asyncio
import secrets
import time

import aio_pika
import msgspec
import uvloop
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, AbstractRobustChannel

from benchmarks.percentiles import percentile
from benchmarks.programs import Gate, perform

__all__ = ["RawResult", "RawSpec"]

_WARM_UP = 50


class RawSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to do; ``url`` carries the password."""

    url: str
    round_trips: int
    payload_bytes: int


class RawResult(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one round trip."""

    p50_ms: float
    p99_ms: float


class _Echo:
    """The whole path in one process: publish with confirm, consume, publish with confirm to the stream, read the stream."""

    def __init__(self, inward: AbstractRobustChannel | aio_pika.abc.AbstractChannel, outward: aio_pika.abc.AbstractChannel, queue: str, stream: str) -> None:
        self._inward = inward
        self._outward = outward
        self._queue = queue
        self._stream = stream
        self._arrived = asyncio.Event()

    async def serve(self, message: AbstractIncomingMessage) -> None:
        """Be the worker: the output is confirmed before the input is acknowledged."""
        await self._outward.default_exchange.publish(aio_pika.Message(message.body), routing_key=self._stream)
        await message.ack()

    async def receive(self, message: AbstractIncomingMessage) -> None:
        """Be the client that reads the stream."""
        self._arrived.set()
        await message.ack()

    async def round_trip(self, body: bytes) -> float:
        """Send one task and wait for its output; return seconds."""
        self._arrived.clear()
        began = time.perf_counter()
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._inward.default_exchange.publish(message, routing_key=self._queue)
        await self._arrived.wait()
        return time.perf_counter() - began


async def _measure(spec: RawSpec, gate: Gate) -> RawResult:
    connection = await aio_pika.connect(spec.url)
    async with connection:
        publishing, working, reading = [await connection.channel() for _ in range(3)]
        name = f"bench.raw.{secrets.token_hex(4)}"
        queue = await working.declare_queue(f"{name}.in", durable=True, arguments={"x-queue-type": "quorum"})
        stream = await reading.declare_queue(f"{name}.out", durable=True, arguments={"x-queue-type": "stream"})
        echo = _Echo(publishing, working, queue.name, stream.name)
        await _consume(echo, working, queue, reading, stream)
        body = secrets.token_bytes(spec.payload_bytes)
        for _ in range(_WARM_UP):
            await echo.round_trip(body)
        await asyncio.to_thread(gate.pass_through)
        times = sorted([await echo.round_trip(body) for _ in range(spec.round_trips)])
        await _delete(connection, queue, stream)
    return RawResult(p50_ms=percentile(times, 50) * 1000, p99_ms=percentile(times, 99) * 1000)


async def _consume(
    echo: _Echo, working: aio_pika.abc.AbstractChannel, queue: AbstractQueue, reading: aio_pika.abc.AbstractChannel, stream: AbstractQueue
) -> None:
    await working.set_qos(prefetch_count=100)
    await queue.consume(echo.serve)
    await reading.set_qos(prefetch_count=100)
    await stream.consume(echo.receive, arguments={"x-stream-offset": "next"})


async def _delete(connection: aio_pika.abc.AbstractConnection, *queues: AbstractQueue) -> None:
    channel = await connection.channel()
    for queue in queues:
        await channel.queue_delete(queue.name)


def _work(spec: RawSpec, gate: Gate) -> RawResult:
    return uvloop.run(_measure(spec, gate))


if __name__ == "__main__":
    perform(RawSpec, _work)
