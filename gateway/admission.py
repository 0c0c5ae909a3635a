"""Admission control: how many requests and bytes this gateway holds at once; what exceeds it is refused before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.problems import ProblemError

__all__ = ["Admission", "Hold"]


class Admission:
    """Counts what is under way.

    Args:
        requests: How many requests may be.
        in_flight_bytes: How many bytes of bodies and answers may be held.
    """

    def __init__(self, *, requests: int, in_flight_bytes: int) -> None:
        self._most_requests = requests
        self._most_bytes = in_flight_bytes
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def enter(self) -> Iterator[Hold]:
        """Count one request while the block runs.

        Raises:
            ProblemError: ``overloaded``.
        """
        if self.requests >= self._most_requests:
            raise ProblemError("overloaded", "too many requests are under way")
        self.requests += 1
        hold = Hold(admission=self)
        try:
            yield hold
        finally:
            self.requests -= 1
            self.bytes -= hold.bytes

    def take(self, count: int) -> None:
        """Count bytes.

        Raises:
            ProblemError: ``overloaded``.
        """
        if self.bytes + count > self._most_bytes:
            raise ProblemError("overloaded", "too many bytes are under way")
        self.bytes += count


class Hold:
    """The bytes that one request holds; given back when it ends."""

    def __init__(self, *, admission: Admission) -> None:
        self._admission = admission
        self.bytes = 0

    def add(self, count: int) -> None:
        """Hold more bytes.

        Raises:
            ProblemError: ``overloaded``.
        """
        self._admission.take(count)
        self.bytes += count
