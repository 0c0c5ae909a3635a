"""Publishing with confirms: every message ends as stored, returned, refused or unknown, within a deadline."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Self

from broker.confirming import ConfirmingChannel, Parcel
from broker.errors import BrokerUnavailableError, UnconfirmedError
from broker.link import BrokerLink

__all__ = ["Publisher"]

_NO_HEADERS: Final[Mapping[str, int | str]] = MappingProxyType({})


class Publisher:
    """Confirmed, mandatory publishing over one lazily opened channel.

    A channel on which a confirm stays out past the deadline takes no further messages: RabbitMQ 3.10 can swallow a publish for ever after
    a partition, and the next message goes out on a new channel. The others on the old one may still be confirmed.

    Args:
        link: Where to publish; never one that also consumes.
        deadline: Seconds until a message without an answer is given up.
    """

    def __init__(self, *, link: BrokerLink, deadline: float = 5.0) -> None:
        self._link = link
        self._deadline = deadline
        self._channel: ConfirmingChannel | None = None
        self._retired: set[ConfirmingChannel] = set()
        self._waiting: deque[Parcel] = deque()
        self._open: deque[Parcel] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._closed = False
        self._ids = secrets.token_hex(8)
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def publish(  # noqa: PLR0913 - a message has that many parts
        self,
        *,
        exchange: str,
        key: str,
        body: bytes,
        headers: Mapping[str, int | str] = _NO_HEADERS,
        message_id: str | None = None,
        mandatory: bool = True,
        persistent: bool = True,
    ) -> None:
        """Publish one message and return when the broker has confirmed it. Cancelling the call does not take the message back.

        Args:
            exchange: The exchange's name.
            key: The routing key.
            body: The message's body.
            headers: The AMQP header table.
            message_id: Unique among all messages in flight, a repeated attempt's included; ``None`` makes a fresh one.
            mandatory: Whether a message that no queue takes is an error.
            persistent: Whether the broker keeps the message on disk.

        Raises:
            BrokerUnavailableError: Nothing was sent.
            UnroutableError: No queue is bound for the message.
            RejectedError: The queue is full.
            UnconfirmedError: It was sent, and what became of it is unknown.
            ValueError: A message with the same id is still in flight.
        """
        await asyncio.shield(
            self.post(exchange=exchange, key=key, body=body, headers=headers, message_id=message_id, mandatory=mandatory, persistent=persistent)
        )

    def post(  # noqa: PLR0913 - a message has that many parts
        self,
        *,
        exchange: str,
        key: str,
        body: bytes,
        headers: Mapping[str, int | str] = _NO_HEADERS,
        message_id: str | None = None,
        mandatory: bool = True,
        persistent: bool = True,
    ) -> asyncio.Future[None]:
        """Do what ``publish`` does without waiting: messages leave in the order of these calls.

        Returns:
            A future that is done when the broker has answered; it fails with the errors of ``publish``.
        """
        loop = asyncio.get_running_loop()
        if message_id is None:
            self._count += 1
            message_id = f"{self._ids}:{self._count}"
        parcel = Parcel(
            exchange=exchange,
            key=key,
            body=body,
            headers=headers,
            message_id=message_id,
            mandatory=mandatory,
            persistent=persistent,
            expires=loop.time() + self._deadline,
            outcome=loop.create_future(),
        )
        if self._closed:
            parcel.fail(BrokerUnavailableError("the publisher is closed"))
        elif self._link.blocked:
            parcel.fail(BrokerUnavailableError("the broker takes no messages for now (memory or disk alarm)"))
        else:
            self._accept(parcel, loop)
        return parcel.outcome

    async def aclose(self) -> None:
        """Take nothing more, wait for the answers that are due (each has its deadline), and close the channel."""
        self._closed = True
        outcomes = [parcel.outcome for parcel in self._open if not parcel.outcome.done()]
        if outcomes:
            await asyncio.wait(outcomes)
        if self._alarm is not None:
            self._alarm.cancel()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._channel is not None:
            self._retire(self._channel)
        await asyncio.gather(*(channel.aclose() for channel in self._retired))

    def _accept(self, parcel: Parcel, loop: asyncio.AbstractEventLoop) -> None:
        while self._open and self._open[0].outcome.done():
            self._open.popleft()
        self._open.append(parcel)
        if self._alarm is None:
            self._alarm = loop.call_at(parcel.expires, self._expire)
        channel = self._channel
        if channel is not None and not channel.alive:
            self._retire(channel)
            channel = None
        if channel is not None:
            channel.send(parcel)
            return
        self._waiting.append(parcel)
        if self._opening is None:
            self._opening = loop.create_task(self._open_channel(), name=f"opening a channel to publish on {self._link.name}")

    async def _open_channel(self) -> None:
        try:
            while self._waiting:
                first = self._waiting[0]
                try:
                    raw = await self._link.channel(within=max(0.0, first.expires - asyncio.get_running_loop().time()), confirms=True)
                except BrokerUnavailableError as exc:
                    first.fail(exc)
                    self._waiting.popleft()
                    continue
                self._channel = channel = ConfirmingChannel(raw)
                while self._waiting:
                    channel.send(self._waiting.popleft())
        finally:
            self._opening = None

    def _expire(self) -> None:
        """Give up what is overdue. All have the same patience, so the oldest stands first."""
        loop = asyncio.get_running_loop()
        self._alarm = None
        while self._open and (self._open[0].outcome.done() or self._open[0].expires <= loop.time()):
            self._give_up(self._open.popleft())
        if self._open:
            self._alarm = loop.call_at(self._open[0].expires, self._expire)

    def _give_up(self, parcel: Parcel) -> None:
        if parcel.outcome.done():
            return
        if parcel.channel is None:
            parcel.fail(BrokerUnavailableError(f"no channel to publish on within {self._deadline:g} s"))
            return
        parcel.fail(UnconfirmedError(f"no confirm within {self._deadline:g} s"))
        self._retire(parcel.channel)

    def _retire(self, channel: ConfirmingChannel) -> None:
        if self._channel is channel:
            self._channel = None
        if channel not in self._retired:
            self._retired.add(channel)
            channel.retire(on_closed=self._retired.discard)
