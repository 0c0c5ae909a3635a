"""Writes answers to ASGI: always with a length, except streams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Final

from starlette.types import Receive, Send

from gateway.call import Streaming

__all__ = ["send_problem", "send_stream", "send_whole"]

_BODILESS: Final = (204, 304)
_PIECE_BYTES: Final = 256 * 1024
_SEND_SECONDS: Final = 120.0
"""How long a client may take to read an answer that does not fit one piece."""


async def send_whole(send: Send, status: int, content: bytes, content_type: str, headers: Mapping[str, str], request_id: str) -> None:
    """Send an answer with its length: Java's HttpURLConnection reuses a connection only when it knows where the answer ended."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    raw.append((b"x-request-id", request_id.encode()))
    if status not in _BODILESS:
        raw.append((b"content-length", str(len(content)).encode()))
    if content_type:
        raw.append((b"content-type", content_type.encode()))
    if "Cache-Control" not in headers:
        raw.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    if len(content) <= _PIECE_BYTES:
        await send({"type": "http.response.body", "body": content})
        return
    async with asyncio.timeout(_SEND_SECONDS):
        await _send_in_pieces(send, content)


async def _send_in_pieces(send: Send, content: bytes) -> None:
    """Wait for a client that reads slowly instead of leaving all to the transport's buffer, where nobody counts it."""
    view = memoryview(content)
    for start in range(0, len(content), _PIECE_BYTES):
        piece = bytes(view[start : start + _PIECE_BYTES])
        await send({"type": "http.response.body", "body": piece, "more_body": start + _PIECE_BYTES < len(content)})


async def send_problem(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]], request_id: str) -> None:
    """Send a problem document."""
    raw = [*headers, (b"x-request-id", request_id.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def send_stream(answer: Streaming, request_id: str, receive: Receive, send: Send) -> int:
    """Send parts as they come until they end or the client goes away; return how many bytes were sent."""
    raw = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    raw += [(b"content-type", answer.content_type.encode()), (b"cache-control", b"no-store"), (b"x-request-id", request_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": raw})
    sent = 0
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(_until_gone(receive), name="waits for the client to go away")
        async with aclosing(answer.parts()) as parts:
            async for part in parts:
                if gone.done():
                    break
                await send({"type": "http.response.body", "body": part, "more_body": True})
                sent += len(part)
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})
    return sent


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
