"""The worker process's way out: collects answers and sends them in frames."""

from __future__ import annotations

import socket
import threading
import time
from typing import Final

from bridge.connectors.local.frames import SINCE, Failure, Ready, Results, encode

__all__ = ["Outbox"]

_FLUSH_AFTER: Final = 2_000_000
"""Nanoseconds that a finished output may wait for its neighbours."""
_FLUSH_BYTES: Final = 1024 * 1024
"""Bytes of finished outputs that are sent without waiting for more."""


class Outbox:
    """Collects answers and sends them: at the end of a bundle, or when they have waited for 2 ms.

    Args:
        connection: The socket to the bridge.
        page: The shared page.
    """

    def __init__(self, *, connection: socket.socket, page: memoryview) -> None:
        self._connection = connection
        self._page = page
        self._sending = threading.Lock()
        self._busy = threading.Event()
        self._mark = 0
        self._entered = 0.0
        self._items: list[bytes | Failure | None] = []
        self._size = 0
        self._flushed = 0

    def open(self, *, many: bool, entered: float) -> None:
        """Begin a bundle. Only a bundle of several tasks needs the thread that sends what waits behind a slow one."""
        self._mark = self._flushed = time.monotonic_ns()
        self._entered = entered
        if many:
            self._busy.set()

    def add(self, answer: bytes | Failure | None) -> None:
        """Keep the next answer; None for a task that was taken back."""
        self._items.append(answer)
        if isinstance(answer, bytes):
            self._size += len(answer)

    def relieve(self, now: int) -> None:
        """Send what is finished when it has waited for long enough or has become large. ``now``: nanoseconds."""
        if now - self._flushed > _FLUSH_AFTER or self._size > _FLUSH_BYTES:
            self.flush(now)

    def close(self) -> None:
        """End a bundle: everything is sent."""
        self._busy.clear()
        self.flush(time.monotonic_ns())

    def flush(self, until: int) -> None:
        """Send what is finished. ``until``: when the last of it was finished, nanoseconds."""
        with self._sending:
            # The other thread may append meanwhile, so the list is cut and never replaced. (The size may then be a little too small, which only
            # makes the next frame a little larger.)
            batch = self._items[:]
            if not batch:
                return
            del self._items[: len(batch)]
            plain = all(type(one) is bytes for one in batch)
            results = Results(batch, plain, (until - self._mark) / 1e9, None, self._entered)
            self._mark, self._entered, self._flushed, self._size = until, 0.0, time.monotonic_ns(), 0
            self._connection.sendall(encode(results))

    def send(self, frame: Ready | Results) -> None:
        """Send a frame of its own."""
        with self._sending:
            self._connection.sendall(encode(frame))

    def watch(self) -> None:
        """Send what waits behind a slow task; the body of a thread."""
        while True:
            self._busy.wait()
            time.sleep(_FLUSH_AFTER / 1e9)
            if self._items and time.monotonic_ns() - self._flushed >= _FLUSH_AFTER:
                self.flush(self._page[SINCE])
