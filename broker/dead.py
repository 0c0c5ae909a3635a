"""Dead letters: what could not be decoded or was given up is kept where operators look, never dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from broker.publishing import Publisher
from schemas.topology import DEAD_EXCHANGE

__all__ = ["bury"]

_LONGEST_REASON: Final = 500


async def bury(publisher: Publisher, body: bytes, *, key: str, reason: str, headers: Mapping[str, object] | None = None) -> None:
    """Copy a message to the dead letters; returns when it is stored. Acknowledge the original only then.

    Args:
        publisher: Publishes it.
        body: The message as it came.
        key: Where it came from, such as ``CLUSTER.lane.3.in``.
        reason: Why nobody could handle it; never a part of the payload.
        headers: The message's own headers; those that are numbers or texts are kept.

    Raises:
        BrokerError: As ``Publisher.publish``.
    """
    kept = {name: value for name, value in (headers or {}).items() if isinstance(value, int | str) and not name.startswith("x-")}
    await publisher.publish(exchange=DEAD_EXCHANGE, key=key, body=body, headers=kept | {"reason": reason[:_LONGEST_REASON]})
