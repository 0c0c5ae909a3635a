"""Reading a lane's stream: records in offset order from any place, with credit withheld from whoever does not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal, Self

import msgspec
from aiormq.abc import DeliveredMessage

from broker.consuming import ConsumingChannel
from broker.errors import BrokerUnavailableError, NotDeclaredError
from broker.link import Broker

__all__ = ["StreamReader", "StreamRecord", "last_records"]

_OFFSET: Final = "x-stream-offset"
_FROM: Final = "x-stream-offset"
_QUIET: Final = 0.25
"""A record that exists is delivered within some 30 ms of attaching."""


class StreamRecord(msgspec.Struct, frozen=True):
    """One message of a stream."""

    offset: int
    message_id: str
    headers: Mapping[str, object]
    body: bytes


class StreamReader:
    """One consumer on one stream, on its own channel. Not safe for concurrent use; made by ``attach``.

    The broker sends up to the credit ahead (before RabbitMQ 4: the chunk that exhausts it to its end), and gets the credit back when
    ``read`` hands records out: a reader that nobody reads holds a bounded amount.
    """

    def __init__(self, *, channel: ConsumingChannel, queue: str, lowest: int) -> None:
        self._channel = channel
        self._queue = queue
        self._lowest = lowest
        self._ready: list[StreamRecord] = []
        self._newest_tag = 0
        self._wake = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def attach(
        cls, broker: Broker, queue: str, at: int | Literal["first", "last", "next"], *, within: float = 5.0, credit: int = 200
    ) -> AsyncIterator[Self]:
        """Open a reader that is closed with the block.

        Args:
            broker: Where the stream is.
            queue: The stream's name.
            at: The first offset to read, or the first one kept, the last chunk, or what is written from now on. An offset that was
                trimmed already begins at the first one kept.
            within: Seconds until the broker must have answered.
            credit: How many records the broker may send ahead.

        Raises:
            NotDeclaredError: There is no such stream.
            BrokerUnavailableError: No node serves it now.
        """
        try:
            async with asyncio.timeout(within):
                channel = ConsumingChannel(await broker.consuming.channel(within=within))
                reader = cls(channel=channel, queue=queue, lowest=at if isinstance(at, int) else 0)
                try:
                    await channel.consume(queue, reader._take, prefetch=credit, arguments={_FROM: at})
                except BaseException:
                    await channel.aclose()
                    raise
        except TimeoutError as exc:
            raise BrokerUnavailableError(f"{queue} could not be read within {within:g} s") from exc
        except NotDeclaredError:
            raise
        except BrokerUnavailableError as exc:
            if "replica" in str(exc):
                await broker.consuming.move_on()
            raise
        channel.on_closed(lambda _: reader._wake.set())
        try:
            yield reader
        finally:
            await channel.aclose()

    @property
    def alive(self) -> bool:
        """Whether records can still come."""
        return self._channel.alive

    async def read(self, within: float | None = None) -> list[StreamRecord]:
        """Return all records that lie ready, in offset order; wait for the first.

        Args:
            within: Seconds to wait; ``None`` waits for ever.

        Returns:
            The records; empty when none came in time.

        Raises:
            BrokerUnavailableError: The reader's channel died. Attach anew where you stood.
        """
        if not self._ready and self.alive:
            self._wake.clear()
            try:
                async with asyncio.timeout(within):
                    await self._wake.wait()
            except TimeoutError:
                return []
        if not self._ready and not self.alive:
            raise BrokerUnavailableError(f"reading {self._queue}: the channel was lost")
        return self.ready()

    def ready(self) -> list[StreamRecord]:
        """Return the records that lie ready, without waiting."""
        return self._hand_out() if self._ready else []

    async def count(self, *, within: float) -> int:
        """Return how many records the stream held some seconds ago, by a round trip on the reader's channel.

        Raises:
            BrokerUnavailableError: No answer within ``within`` seconds.
        """
        return await self._channel.count(self._queue, within=within)

    def _hand_out(self) -> list[StreamRecord]:
        records, self._ready = self._ready, []
        self._channel.ack(self._newest_tag, multiple=True)
        return records

    def _take(self, message: DeliveredMessage) -> None:
        properties = message.header.properties
        headers = properties.headers or {}
        offset = headers.get(_OFFSET)
        tag = self._newest_tag = message.delivery_tag or 0
        # Brokers before RabbitMQ 4 deliver whole chunks, so what lies before the wanted offset may come along.
        if not isinstance(offset, int) or offset < self._lowest:
            if not self._ready:
                self._channel.ack(tag, multiple=True)
            return
        self._ready.append(StreamRecord(offset, properties.message_id or "", headers, message.body))
        self._wake.set()


async def last_records(broker: Broker, queue: str, within: float = 5.0) -> list[StreamRecord]:
    """Return a stream's last chunk, empty when nothing was ever written.

    Set-up seeds each journal with one record, so the last chunk comes at once. A stream without it looks like one whose node is slow: the
    broker's count of its messages is some seconds old, and an empty stream answers nothing. Only both together count as empty.

    Raises:
        NotDeclaredError: There is no such stream.
        BrokerUnavailableError: No node serves it within ``within`` seconds.
    """
    async with StreamReader.attach(broker, queue, "last", within=within) as reader:
        records = await reader.read(min(_QUIET, within))
        # The broker sends a chunk in one go: what it had begun to send lies before its answer to the next question.
        count = await reader.count(within=within)
        if not records and count > 0:
            records = await reader.read(within)
            if not records:
                raise BrokerUnavailableError(f"{queue} holds {count} records and delivers none within {within:g} s")
            await reader.count(within=within)
        return records + reader.ready()
