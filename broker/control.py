"""Live messages between gateways and workers: a bus that may lose some, and requests with replies on top of it."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType, TracebackType
from typing import Final, Self

import msgspec
from aiormq.abc import DeliveredMessage

from broker.background import Background
from broker.consuming import ConsumingChannel
from broker.errors import BrokerUnavailableError, NoReplyError, UnroutableError
from broker.link import Broker
from broker.publishing import Publisher
from runtime.logs import get_logger
from schemas.control import ControlMessage, Reply, Request, decode_control, encode_control
from schemas.records import RecordError
from schemas.topology import CONTROL_EXCHANGE

__all__ = ["ControlBus", "Requests"]

_CHANNEL_WITHIN: Final = 30.0
_LONGEST_PAUSE: Final = 2.0
_PREFETCH: Final = 1000
_QUEUE: Final[Mapping[str, int | str]] = MappingProxyType(
    # A bus that is not heard for a while must cost the broker little; what is stale is of no use to anybody.
    {"x-queue-type": "classic", "x-max-length": 10_000, "x-overflow": "drop-head", "x-message-ttl": 30_000}
)

_log = get_logger(__name__)


class ControlBus:
    """Hears what is sent to its keys, through a queue of its own that goes with the connection and is remade with the next.

    Args:
        broker: Where to listen.
        publisher: Sends.
        keys: The routing keys to hear.
        on_message: Gets each message inside the event loop, in order.
    """

    def __init__(self, *, broker: Broker, publisher: Publisher, keys: Sequence[str], on_message: Callable[[ControlMessage], None]) -> None:
        self._broker = broker
        self._publisher = publisher
        self._keys = tuple(keys)
        self._on_message = on_message
        self._up = asyncio.Event()
        self._background = Background()

    async def __aenter__(self) -> Self:
        """Begin to listen; does not wait until the queue is there."""
        await self._background.start(self._listen(), name="control bus")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop to listen."""
        await self._background.stop(kind, error, trace)

    @property
    def ready(self) -> bool:
        """Whether messages to the keys arrive now."""
        return self._up.is_set()

    async def wait_ready(self, within: float) -> None:
        """Return once messages to the keys arrive.

        Raises:
            BrokerUnavailableError: Not within ``within`` seconds.
        """
        try:
            async with asyncio.timeout(within):
                await self._up.wait()
        except TimeoutError as exc:
            raise BrokerUnavailableError(f"the control bus is not connected within {within:g} s") from exc

    async def send(self, key: str, message: ControlMessage, *, mandatory: bool = False) -> None:
        """Send a message to whoever hears ``key``; returns when the broker has taken it, which does not mean that anybody has read it.

        Args:
            key: The routing key.
            message: What to say.
            mandatory: Whether it is an error that nobody hears the key.

        Raises:
            UnroutableError: Nobody hears it.
            BrokerError: As ``Publisher.publish``.
        """
        await self._publisher.publish(exchange=CONTROL_EXCHANGE, key=key, body=encode_control(message), mandatory=mandatory, persistent=False)

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with self._queue() as channel:
                    failures = 0
                    await channel.closed.wait()
            except BrokerUnavailableError as exc:
                failures += 1
                _log.warning("the control bus was interrupted", reason=str(exc)[:300])
            # Nothing remade at once by hundreds of processes, after a broker came back, helps it to its feet.
            await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.1 * 2 ** min(failures, 10))))  # noqa: S311 - spreads load

    @asynccontextmanager
    async def _queue(self) -> AsyncIterator[ConsumingChannel]:
        raw = await self._broker.consuming.channel(within=_CHANNEL_WITHIN)
        channel = ConsumingChannel(raw)
        # A name of its own each time: the broker may still hold the last connection's queue.
        queue = f"sw.bus.{self._broker.name}.{secrets.token_hex(8)}"
        try:
            doing = "making the control queue"
            await channel.call(raw.queue_declare(queue, exclusive=True, auto_delete=True, arguments=dict(_QUEUE)), doing=doing)
            for key in self._keys:
                await channel.call(raw.queue_bind(queue, CONTROL_EXCHANGE, key), doing=doing)
            await channel.consume(queue, self._take, prefetch=_PREFETCH, no_ack=True)
            self._up.set()
            yield channel
        finally:
            self._up.clear()
            await channel.aclose()

    def _take(self, delivery: DeliveredMessage) -> None:
        try:
            message = decode_control(delivery.body)
        except RecordError as exc:
            _log.warning("a control message could not be read", key=delivery.routing_key, reason=str(exc)[:300])
            return
        try:
            self._on_message(message)
        # The edge of a message: one that breaks its handler must not end the bus.
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("a control message could not be handled", kind=type(message).__name__)


class _Waiting:
    """Replies to one request, as they come."""

    def __init__(self, expect: int | None) -> None:
        self.replies: list[Reply] = []
        self.complete = asyncio.Event()
        self._expect = expect

    def take(self, reply: Reply) -> None:
        """Add a reply; a worker that answers twice counts once."""
        if any(reply.worker == earlier.worker for earlier in self.replies):
            return
        self.replies.append(reply)
        if self._expect is not None and len(self.replies) >= self._expect:
            self.complete.set()


class Requests:
    """Asks owners and workers, and waits for what they reply.

    Args:
        bus: Sends the requests; whoever handles its messages passes replies to ``deliver``.
        reply_to: The routing key under which ``bus`` hears replies.
    """

    def __init__(self, *, bus: ControlBus, reply_to: str) -> None:
        self._bus = bus
        self._reply_to = reply_to
        self._waiting: dict[str, _Waiting] = {}

    def deliver(self, reply: Reply) -> None:
        """Take a reply from the bus; one that nobody waits for any longer is dropped."""
        waiting = self._waiting.get(reply.id)
        if waiting is not None:
            waiting.take(reply)

    async def ask(self, key: str, request: Request, *, within: float = 5.0) -> Reply:
        """Send a request to one worker and return its reply.

        Args:
            key: The worker's routing key.
            request: What to ask; its id and its reply address are filled in.
            within: Seconds to wait at most, in all.

        Raises:
            UnroutableError: Nobody hears the key.
            NoReplyError: It was delivered and not answered in time: it may have been carried out.
            BrokerError: It could not be sent.
        """
        replies = await self._exchange(key, request, expect=1, within=within)
        if not replies:
            raise NoReplyError(f"no reply to {request.verb} within {within:g} s")
        return replies[0]

    async def ask_all(self, key: str, request: Request, *, expect: int | None, within: float) -> list[Reply]:
        """Send a request to all who hear ``key`` and return the replies that came.

        Args:
            key: The cluster's routing key.
            request: What to ask; its id and its reply address are filled in.
            expect: Return as soon as that many workers have answered; ``None`` waits the whole time.
            within: Seconds to wait at most, in all.

        Returns:
            One reply per worker, empty when nobody hears the key.

        Raises:
            BrokerError: It could not be sent.
        """
        try:
            return await self._exchange(key, request, expect=expect, within=within)
        except UnroutableError:
            return []

    async def _exchange(self, key: str, request: Request, *, expect: int | None, within: float) -> list[Reply]:
        filled = msgspec.structs.replace(request, id=secrets.token_hex(12), reply_to=self._reply_to)
        waiting = self._waiting[filled.id] = _Waiting(expect)
        try:
            async with asyncio.timeout(within):
                # A reply to a bus that is not connected would be lost.
                await self._bus.wait_ready(within)
                await self._bus.send(key, filled, mandatory=True)
                await waiting.complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._waiting[filled.id]
        return waiting.replies
