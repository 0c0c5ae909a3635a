"""Connections to the broker: one to any of several nodes, remade by itself when it breaks."""

from __future__ import annotations

import asyncio
import random
import ssl
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Final, Self

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel
from yarl import URL

from broker.background import Background
from broker.errors import BrokerUnavailableError, broker_errors
from runtime.logs import get_logger
from runtime.settings import BrokerSettings, broker_urls

__all__ = ["Broker", "BrokerLink"]

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_CLOSE_WITHIN: Final = 3.0
_MOST_CHANNELS: Final = 65535

_log = get_logger(__name__)


class BrokerLink:
    """One AMQP connection to one of several broker nodes.

    A lost or refused connection is followed by one to the next node, after a pause of random length below 0.2 s that doubles up to 5 s
    ("full jitter", so that 800 processes do not come back in step). Channels are never restored: whoever held one learns that it is
    dead and decides what to do. That is why the connection is aio-pika's plain one, and its robust one is not used.

    Args:
        settings: The nodes, and how to reach them.
        name: What the broker's own tools show for this connection.
    """

    def __init__(self, *, settings: BrokerSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._opened: aio_pika.Connection | None = None
        self._connection: aiormq.Connection | None = None
        """What lies under it: hot paths speak to it directly (docs/decisions/0007)."""
        self._up = asyncio.Event()
        self._tls: ssl.SSLContext | None = None
        # Every process begins at a node of its own choice: the load spreads without anybody planning it.
        self._node = random.randrange(len(settings.urls))  # noqa: S311 - spreads load, guards nothing
        self._number = 0
        self._background = Background()

    async def __aenter__(self) -> Self:
        """Begin to connect; does not wait for success."""
        await self._background.start(self._supervise(), name=f"broker link {self._name}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connection."""
        await self._background.stop(kind, error, trace)

    @property
    def name(self) -> str:
        """What the broker's own tools show for this connection."""
        return self._name

    @property
    def settings(self) -> BrokerSettings:
        """The nodes, and how to reach them."""
        return self._settings

    @property
    def connected(self) -> bool:
        """Whether a connection is open as far as this side knows."""
        return self._connection is not None

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it reads nothing from this connection for now (memory or disk alarm)."""
        return self._connection is not None and not _is_ready(self._connection)

    async def wait_connected(self, within: float) -> None:
        """Return once a connection is open.

        Raises:
            BrokerUnavailableError: None within ``within`` seconds.
        """
        try:
            async with asyncio.timeout(within):
                await self._up.wait()
        except TimeoutError as exc:
            raise BrokerUnavailableError(f"no broker node could be reached within {within:g} s") from exc

    async def channel(self, *, within: float, confirms: bool = False) -> aiormq.Channel:
        """Open a channel.

        Args:
            within: Seconds to wait at most, for a connection too.
            confirms: Whether the broker confirms what is published on the channel, and returns what it cannot route.

        Raises:
            BrokerUnavailableError: No node gave a channel in time.
        """
        end = asyncio.get_running_loop().time() + within
        while True:
            await self.wait_connected(max(0.0, end - asyncio.get_running_loop().time()))
            connection = self._connection
            if connection is None:
                continue
            try:
                with broker_errors(f"opening a channel on {self._name}"):
                    async with asyncio.timeout_at(end):
                        # The broker answers nothing on a blocked connection: without this wait the request would lie there and open later.
                        await connection.ready()
                        number = self._next_number(connection)
                        channel = await connection.channel(number, publisher_confirms=confirms, on_return_raises=confirms)
            except BrokerUnavailableError:
                if not connection.is_closed or asyncio.get_running_loop().time() >= end:
                    raise
                # The supervising task learns of the loss within this turn of the loop or the next.
                await asyncio.sleep(0)
            else:
                if not isinstance(channel, aiormq.Channel):
                    raise TypeError(f"aiormq opened a {type(channel).__name__}")
                return channel

    async def declaring_channel(self, *, within: float) -> AbstractChannel:
        """Open one of aio-pika's channels, for declaring.

        Raises:
            BrokerUnavailableError: No node gave a channel in time.
        """
        await self.wait_connected(within)
        opened = self._opened
        if opened is None:
            raise BrokerUnavailableError("the connection was lost")
        with broker_errors(f"opening a channel on {self._name}"):
            async with asyncio.timeout(within):
                channel = opened.channel(self._next_number(_underlay(opened)), publisher_confirms=False)
                await channel.initialize()
        return channel

    def _next_number(self, connection: aiormq.Connection) -> int:
        """Return the free channel number whose last use lies longest back.

        aiormq counts upwards, beyond what the broker agreed to while channels come and go, and the broker answers one channel too many with the
        end of the whole connection. So it does when a number comes again before it has seen the end of the number's last channel, which it had
        closed itself: a question for a queue that is missing costs the channel.
        """
        most = connection.connection_tune.channel_max or _MOST_CHANNELS
        for step in range(most):
            number = (self._number + step) % most + 1
            if number not in connection.channels:
                self._number = number
                return number
        raise BrokerUnavailableError(f"all {most} channels of the connection are in use")

    async def move_on(self) -> None:
        """Leave this node for the next one, when there is another: this one cannot serve what was asked (no replica of a stream)."""
        opened, connection = self._opened, self._connection
        if opened is None or connection is None or len(self._settings.urls) == 1:
            return
        _log.warning("leaving a broker node", link=self._name, node=_place(connection.url))
        await _close(opened)

    async def _supervise(self) -> None:
        failures = 0
        while True:
            opened = await self._connect()
            if opened is None:
                failures += 1
            else:
                lived = await self._hold(opened)
                failures = 0 if lived > _LONGEST_PAUSE else failures + 1
            self._node = (self._node + 1) % len(self._settings.urls)
            await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures, 10))))  # noqa: S311 - as above

    async def _connect(self) -> aio_pika.Connection | None:
        place, opened = "", None
        try:
            url = await self._url()
            place = _place(url)
            opened = aio_pika.Connection(url, ssl_context=self._tls, client_properties={"connection_name": self._name})
            async with asyncio.timeout(self._settings.connect_timeout):
                await opened.connect()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            _log.warning("broker node refused", link=self._name, reason="the connection was lost while it opened")
        # The password file may be missing while it is being rotated, the name service away, the node half started: all pass.
        except Exception as exc:  # noqa: BLE001 - the loop's edge: whatever it was, the next node is tried
            _log.warning("broker node refused", link=self._name, node=place, reason=f"{type(exc).__name__}: {exc}"[:300])
        else:
            return opened
        if opened is not None:
            await _close(opened)
        return None

    async def _hold(self, opened: aio_pika.Connection) -> float:
        """Offer the connection until it is gone; return for how many seconds it lived."""
        loop = asyncio.get_running_loop()
        born = loop.time()
        connection = _underlay(opened)
        self._opened, self._connection = opened, connection
        self._up.set()
        _log.info("broker connected", link=self._name, node=_place(connection.url))
        try:
            await asyncio.wait([connection.closing])
        finally:
            self._opened = self._connection = None
            self._up.clear()
            await _close(opened)
        _log.warning("broker connection lost", link=self._name, node=_place(connection.url))
        return loop.time() - born

    async def _url(self) -> URL:
        # Files are read anew at each attempt, so that a rotated password is taken up without a restart.
        urls = await asyncio.to_thread(broker_urls, self._settings)
        url = URL(urls[self._node])
        if url.scheme == "amqps" and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=self._settings.ca_file)
        return url.update_query(heartbeat=str(self._settings.heartbeat))


def _place(url: URL) -> str:
    return f"{url.host}:{url.port}"


def _underlay(opened: aio_pika.Connection) -> aiormq.Connection:
    connection = opened.transport.connection if opened.transport is not None else None
    if not isinstance(connection, aiormq.Connection):
        raise TypeError(f"aio-pika stands on a {type(connection).__name__}")
    return connection


def _is_ready(connection: aiormq.Connection) -> bool:
    """Ask aiormq, which keeps this to itself, whether its ``ready`` would have to wait."""
    waiting = connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return True
    waiting.close()
    return False


async def _close(opened: aio_pika.Connection) -> None:
    """Close without waiting for a peer that does not answer."""
    with suppress(BrokerUnavailableError), broker_errors("closing a connection"):
        async with asyncio.timeout(_CLOSE_WITHIN):
            await opened.close()
    if not opened.is_closed:
        # aio-pika has let go of the transport already; until it is told again it would try to close once more when it is collected.
        await opened.close()


class Broker:
    """Two links: the broker stops reading from publishing connections under an alarm, and consuming must go on then.

    Args:
        settings: The nodes, and how to reach them.
        name: The process' name, for the broker's own tools.
    """

    def __init__(self, *, settings: BrokerSettings, name: str) -> None:
        self.name = name
        self.publishing = BrokerLink(settings=settings, name=f"{name} publishing")
        self.consuming = BrokerLink(settings=settings, name=f"{name} consuming")
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin to connect; does not wait for success."""
        await self._stack.enter_async_context(self.publishing)
        await self._stack.enter_async_context(self.consuming)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close both links."""
        await self._stack.__aexit__(kind, error, trace)

    @property
    def ready(self) -> bool:
        """Whether messages can be published and consumed now, as far as this side knows."""
        return self.publishing.connected and not self.publishing.blocked and self.consuming.connected

    async def wait_ready(self, within: float) -> None:
        """Return once both links are connected.

        Raises:
            BrokerUnavailableError: Not within ``within`` seconds.
        """
        end = asyncio.get_running_loop().time() + within
        for link in (self.publishing, self.consuming):
            await link.wait_connected(max(0.0, end - asyncio.get_running_loop().time()))
