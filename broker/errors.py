"""What can go wrong with the broker, told apart by what the caller may do next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiormq.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity

__all__ = [
    "BrokerError",
    "BrokerUnavailableError",
    "NoReplyError",
    "NotDeclaredError",
    "RejectedError",
    "UnconfirmedError",
    "UnroutableError",
    "broker_errors",
]


class BrokerError(Exception):
    """Base of everything that this room raises about the broker."""


class BrokerUnavailableError(BrokerError):
    """Raised when no broker node can be used now, or none could before the deadline. Nothing was sent: repeating is safe."""


class NotDeclaredError(BrokerUnavailableError):
    """Raised when a queue, stream or exchange is missing: ``sluiceway broker setup`` has not been run, or somebody deleted it."""


class UnroutableError(BrokerError):
    """Raised when the broker took a message but no queue is bound for it: nothing was stored, repeating is safe."""


class RejectedError(BrokerError):
    """Raised when the broker refused a message, mostly because its queue is full: nothing was stored."""


class UnconfirmedError(BrokerError):
    """Raised when a message was sent and nobody said what became of it: it may be stored, now, later, or never."""


class NoReplyError(BrokerError):
    """Raised when a request was delivered and no reply came in time: it may have been carried out."""


@contextmanager
def broker_errors(doing: str) -> Iterator[None]:
    """Turn whatever aiormq raises inside the block into ``BrokerUnavailableError``.

    aiormq ends the calls that wait on a dying channel by cancelling their tasks, and passes that ``CancelledError`` on. To the caller it
    would look as if somebody had cancelled *it*, so a cancellation that nobody asked this task for counts as a lost channel.

    Args:
        doing: What was tried, for the message.

    Raises:
        NotDeclaredError: The broker does not know the queue or exchange.
        BrokerUnavailableError: Anything else that went wrong between here and the broker.
    """
    try:
        yield
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailableError(f"{doing}: the channel was lost") from exc
    except ChannelNotFoundEntity as exc:
        raise NotDeclaredError(f"{doing}: {exc}") from exc
    except (AMQPError, ChannelInvalidStateError, OSError, TimeoutError) as exc:
        raise BrokerUnavailableError(f"{doing}: {type(exc).__name__} {exc}".rstrip()) from exc
    except RuntimeError as exc:
        # aiormq says so when a connection closes between two of its own steps; any other runtime error is ours.
        if "closed" not in str(exc):
            raise
        raise BrokerUnavailableError(f"{doing}: {exc}") from exc
