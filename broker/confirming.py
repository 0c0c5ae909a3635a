"""One channel in confirm mode, and the messages on their way over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import aiormq
from aiormq.exceptions import DeliveryError, PublishError
from pamqp import commands as spec

from broker.channel import HeldChannel
from broker.errors import BrokerError, BrokerUnavailableError, RejectedError, UnconfirmedError, UnroutableError
from broker.frames import publish_frames

__all__ = ["ConfirmingChannel", "Parcel"]


class Parcel:
    """One message until its outcome is known.

    It stands in aiormq's table of confirms where a future would be, and answers the four calls that aiormq makes on those, which saves a
    future and two callbacks per message.
    """

    __slots__ = ("body", "channel", "exchange", "expires", "headers", "key", "mandatory", "message_id", "outcome", "persistent")

    def __init__(  # noqa: PLR0913 - a message has that many parts
        self,
        *,
        exchange: str,
        key: str,
        body: bytes,
        headers: Mapping[str, int | str],
        message_id: str,
        mandatory: bool,
        persistent: bool,
        expires: float,
        outcome: asyncio.Future[None],
    ) -> None:
        self.exchange = exchange
        self.key = key
        self.body = body
        self.headers = headers
        self.message_id = message_id
        self.mandatory = mandatory
        self.persistent = persistent
        self.expires = expires
        self.outcome = outcome
        self.channel: ConfirmingChannel | None = None
        """Where it was sent; ``None`` until then."""

    def frames(self, raw: aiormq.Channel) -> bytes:
        """Return the message as it goes over that channel.

        Raises:
            ValueError: AMQP cannot carry one of its parts.
        """
        return publish_frames(
            raw.number,
            exchange=self.exchange,
            key=self.key,
            body=self.body,
            headers=self.headers,
            message_id=self.message_id,
            mandatory=self.mandatory,
            persistent=self.persistent,
            largest=raw.max_content_size,
        )

    def done(self) -> bool:
        """Tell aiormq whether an answer is still of interest."""
        return self.outcome.done()

    def cancelled(self) -> bool:
        """Keep aiormq from warning about answers that come after the deadline."""
        return True

    def set_result(self, frame: object) -> None:
        """Take a confirm."""
        if not isinstance(frame, spec.Basic.Ack):
            self.fail(UnconfirmedError(f"the broker answered with {frame!r:.100}"))
        elif not self.outcome.done():
            self.outcome.set_result(None)
            self._leave()

    def set_exception(self, error: BaseException) -> None:
        """Take a return or a refusal."""
        if isinstance(error, PublishError):
            self.fail(UnroutableError(f"no queue takes messages with the key {self.key!r} of exchange {self.exchange!r}"))
        elif isinstance(error, DeliveryError):
            self.fail(RejectedError(f"the broker refused a message with the key {self.key!r} of exchange {self.exchange!r}"))
        else:
            self.fail(UnconfirmedError(str(error)))

    def fail(self, error: BrokerError | ValueError) -> None:
        """End with an error, unless it has ended already."""
        if self.outcome.done():
            return
        self.outcome.set_exception(error)
        # Whoever posted may have gone; an error that nobody fetches is no bug here.
        self.outcome.exception()
        self._leave()

    def _leave(self) -> None:
        if self.channel is not None:
            self.channel.forget(self)


class ConfirmingChannel:
    """A channel in confirm mode.

    Args:
        raw: A fresh channel of aiormq with confirms, on which nobody else publishes.
    """

    def __init__(self, raw: aiormq.Channel) -> None:
        self._channel = HeldChannel(raw)
        # aiormq looks up who waits for a confirm here; it only calls what ``Parcel`` has.
        self._confirms = cast("dict[int, Any]", raw.confirmations)
        self._ids = raw.message_id_delivery_tag
        self._in_flight: set[Parcel] = set()
        self._retired = False
        self._channel.on_closed(self._fail_all)

    @property
    def alive(self) -> bool:
        """Whether messages can be sent."""
        return not self._retired and self._channel.alive

    def send(self, parcel: Parcel) -> None:
        """Send a message; its outcome is set when the answer comes."""
        if parcel.outcome.done():
            return
        if not self.alive:
            parcel.fail(BrokerUnavailableError("the channel was lost"))
            return
        if parcel.message_id in self._ids:
            # aiormq finds the owner of a returned message by its id: with two of the same id in flight, the wrong one would count as stored.
            parcel.fail(ValueError(f"a message with the id {parcel.message_id!r} is still in flight"))
            return
        raw = self._channel.raw
        try:
            frames = parcel.frames(raw)
        except ValueError as exc:
            parcel.fail(exc)
            return
        raw.delivery_tag = tag = raw.delivery_tag + 1
        self._confirms[tag] = parcel
        self._ids[parcel.message_id] = tag
        self._in_flight.add(parcel)
        parcel.channel = self
        # The bytes are the outlet's now; a parcel may outlive them by the whole deadline.
        parcel.body = b""
        self._channel.outlet.write(frames)

    def forget(self, parcel: Parcel) -> None:
        """Drop a message whose outcome is known."""
        self._in_flight.discard(parcel)
        self._ids.pop(parcel.message_id, None)
        if self._retired and not self._in_flight:
            self._channel.abandon()

    def retire(self, *, on_closed: Callable[[ConfirmingChannel], None]) -> None:
        """Take nothing more, and close once nothing is on its way any longer.

        Args:
            on_closed: Called in the end.
        """
        self._retired = True
        self._channel.on_closed(lambda _: on_closed(self))
        if not self._in_flight:
            self._channel.abandon()

    async def aclose(self) -> None:
        """Return when the channel is closed; what is still on its way fails."""
        self._fail_all("the publisher was closed")
        await self._channel.aclose()

    def _fail_all(self, reason: str) -> None:
        for parcel in list(self._in_flight):
            parcel.fail(UnconfirmedError(f"the channel was lost: {reason}"))
