"""Reads a request's body within its limits: refused before it is read when it says it is too large, and never longer than its time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import Receive

from gateway.admission import Hold
from gateway.problems import ProblemError

__all__ = ["ClientGoneError", "read_body"]


class ClientGoneError(Exception):
    """Raised when the client went away before its request was complete."""


async def read_body(receive: Receive, headers: Mapping[str, str], *, is_here: bool, limit: int, seconds: float, hold: Hold) -> bytes:
    """Return the body.

    Args:
        receive: ASGI's.
        headers: By lower-case name.
        is_here: Whether the whole body came together with the head: then no timer is needed.
        limit: Bytes.
        seconds: From the end of the head to the end of the body.
        hold: Where the bytes are counted, before they are read when the client announces them.

    Raises:
        ProblemError: ``body-too-large``, ``overloaded``, ``request-timeout``, or ``malformed-body`` for an impossible length.
        ClientGoneError: The client went away.
    """
    announced = _length(headers)
    if announced == 0:
        return b""
    if announced is not None:
        if announced > limit:
            raise ProblemError("body-too-large", f"at most {limit} bytes are read")
        hold.add(announced)
    if is_here:
        return await _collect(receive, None if announced is not None else hold, limit)
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive, None if announced is not None else hold, limit)
    except TimeoutError as exc:
        raise ProblemError("request-timeout", f"a body has {seconds:g} s", headers={"Connection": "close"}) from exc


def _length(headers: Mapping[str, str]) -> int | None:
    """Return the announced length; 0 when there is no body, None when the client does not say."""
    text = headers.get("content-length")
    if text is None:
        return None if "transfer-encoding" in headers else 0
    if not text.isascii() or not text.isdigit():
        raise ProblemError("malformed-body", "Content-Length is not a number")
    return int(text)


async def _collect(receive: Receive, hold: Hold | None, limit: int) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False) and hold is None:
        whole: bytes = message.get("body", b"")
        return whole
    parts = bytearray()
    while True:
        if message["type"] != "http.request":
            raise ClientGoneError
        part: bytes = message.get("body", b"")
        if len(parts) + len(part) > limit:
            raise ProblemError("body-too-large", f"at most {limit} bytes are read", headers={"Connection": "close"})
        if hold is not None:
            hold.add(len(part))
        parts += part
        if not message.get("more_body", False):
            return bytes(parts)
        message = await receive()
