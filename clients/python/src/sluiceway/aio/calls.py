"""Turns answers into records: what every object of the core does after a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from sluiceway.errors import ProtocolError
from sluiceway.fields import UnreadableError
from sluiceway.http.transport import Call, Transport

__all__ = ["ask", "get", "segment"]

T = TypeVar("T")


def segment(text: str) -> str:
    """Return an id as one segment of a path."""
    return quote(text, safe="")


def get(path: str) -> Call:
    """Return a GET."""
    return Call(method="GET", path=path)


async def ask(transport: Transport, call: Call, read: Callable[[object], T], *, deadline: float | None = None) -> T:
    """Carry a call out and read its answer.

    Raises:
        ProtocolError: The answer is not what a gateway sends.
        SluicewayError: As ``Transport.call``.
    """
    answer = await transport.call(call, deadline=deadline)
    try:
        return read(answer.value())
    except UnreadableError as exc:
        raise ProtocolError(str(exc)) from exc
