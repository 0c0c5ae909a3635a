"""How many messages of its lane an owner takes at once: as many as fit a budget of bytes, since a message may have one byte or 8 MiB."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from broker.claims import InputDelivery, SessionChannel

__all__ = ["LaneWindow"]

_FIRST: Final = 16
"""Messages taken before any size is known: at most 128 MiB of the largest ones."""

_FEWEST: Final = 4
_SAMPLE: Final = 16
"""After so many messages the window is judged anew."""

_FACTOR: Final = 2
"""It is changed when it is wrong by this much: the consumer has to be made again for it."""


class LaneWindow:
    """The lane's consumer and its prefetch (rule E4 of the protocol).

    Args:
        channel: The session's channel; a change of the window leaves what it holds where it is.
        queue: The lane's input side.
        sink: Takes deliveries.
        budget: Bytes that messages held unacknowledged may take.
        most: Messages held unacknowledged at most.
        start: Runs a coroutine beside the owner.
    """

    def __init__(
        self,
        *,
        channel: SessionChannel,
        queue: str,
        sink: Callable[[InputDelivery], None],
        budget: int,
        most: int,
        start: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._channel = channel
        self._queue = queue
        self._sink = sink
        self._budget = budget
        self._most = most
        self._start = start
        self._size = 0
        self._changing = False
        self._seen = 0
        self._bytes = 0

    async def open(self) -> None:
        """Begin to take inputs, once per channel."""
        if not self._size:
            await self._take(min(_FIRST, self._most))

    def weigh(self, weight: int) -> None:
        """Take note of a message that takes so many bytes in memory; judge the window now and then."""
        self._seen += 1
        self._bytes += weight
        if self._seen < _SAMPLE or self._changing:
            return
        fitting = max(_FEWEST, min(self._budget * self._seen // max(self._bytes, 1), self._most))
        self._seen = self._bytes = 0
        if fitting >= self._size * _FACTOR or fitting * _FACTOR <= self._size:
            self._changing = True
            self._start(self._change(fitting))

    async def _change(self, size: int) -> None:
        try:
            await self._take(size)
        finally:
            self._changing = False

    async def _take(self, size: int) -> None:
        self._size = size
        await self._channel.consume(self._queue, prefetch=size, sink=self._sink)
