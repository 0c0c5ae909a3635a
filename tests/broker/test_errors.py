"""Errors of the AMQP library become ours, told apart by what the caller may do."""

from __future__ import annotations

import asyncio

import pytest
from aiormq.exceptions import ChannelNotFoundEntity, ConnectionClosed

from broker.errors import BrokerUnavailableError, NotDeclaredError, broker_errors


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ChannelNotFoundEntity("no queue"), NotDeclaredError),
        (ConnectionClosed(320, "forced"), BrokerUnavailableError),
        (ConnectionResetError(), BrokerUnavailableError),
        (TimeoutError(), BrokerUnavailableError),
        (RuntimeError("<Connection> closed"), BrokerUnavailableError),
        (RuntimeError("a bug of ours"), RuntimeError),
        (KeyError("a bug of ours"), KeyError),
    ],
)
def test_foreign_errors_become_ours(raised: Exception, expected: type[Exception]) -> None:
    """What goes wrong between here and the broker is one of our errors; bugs stay what they are."""
    with pytest.raises(expected) as caught, broker_errors("trying"):
        raise raised

    assert type(caught.value) is expected


async def test_cancellation_by_the_library_is_a_lost_channel() -> None:
    """A cancellation that nobody asked the caller for means that the library ended the call, not that the caller must stop."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gone.cancel()

    with pytest.raises(BrokerUnavailableError), broker_errors("trying"):
        await gone


async def test_cancellation_of_the_caller_stays_one() -> None:
    """Cancelling the caller is never swallowed."""

    async def work() -> None:
        with broker_errors("trying"):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
