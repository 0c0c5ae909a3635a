"""The few calls of the HTTP interface that the load needs: aiohttp, TLS with verification, a bearer token, MessagePack."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

import aiohttp
import msgspec

from schemas.http import (
    ConnectAnswer,
    ConnectRequest,
    CreateSessionRequest,
    FetchAnswer,
    SessionAnswer,
    SessionDescription,
    SubmitAnswer,
    SubmitRequest,
)

__all__ = ["Api", "RefusedError", "Target"]

_MSGPACK: Final = "application/msgpack"
_OCTETS: Final = "application/octet-stream"
_BUSY: Final = 429
_UNAVAILABLE: Final = 503
_CLOSINGS: Final = 10
_SECONDS: Final = 90

A = TypeVar("A")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a program finds its gateway and, where it needs one, its session."""

    url: str
    ca_file: str
    token: str
    session_id: str = ""
    cursor: str = ""


class RefusedError(Exception):
    """Raised for an answer that says no.

    Args:
        status: The HTTP status.
        text: The problem document.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status


class Api:
    """One client, inside a block.

    Args:
        target: Where the gateway listens.
        connections: How many connections it may open at once.
    """

    def __init__(self, *, target: Target, connections: int) -> None:
        self._target = target
        self._connections = connections
        self._http: aiohttp.ClientSession | None = None
        self.refused = 0
        """How many submissions were answered 429."""

    async def __aenter__(self) -> Self:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=self._target.ca_file)
        self._http = aiohttp.ClientSession(
            base_url=self._target.url,
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=context),
            headers={"Authorization": f"Bearer {self._target.token}", "Accept": _MSGPACK},
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.close()

    async def connect(self, grid: str, application: str) -> str:
        """Return the id of a new connection."""
        answer = await self._post("/v1/connections", ConnectRequest(grid=grid, application_name=application), ConnectAnswer)
        return answer.connection_id

    async def create_session(self, connection: str) -> SessionAnswer:
        """Return a new session that is open."""
        return await self._post(f"/v1/connections/{connection}/sessions", CreateSessionRequest(), SessionAnswer)

    async def describe(self, session: str) -> SessionDescription:
        """Return what a session's owner says of it."""
        async with self._client.get(f"/v1/sessions/{session}") as answer:
            return await _read(answer, SessionDescription)

    async def close_session(self, session: str) -> None:
        """Close a session; come again while its owner is too busy to answer (503)."""
        for _ in range(_CLOSINGS):
            async with self._client.delete(f"/v1/sessions/{session}") as answer:
                if answer.status != _UNAVAILABLE:
                    await _accepted(answer)
                    return
                pause = float(answer.headers.get("Retry-After", "1"))
            await asyncio.sleep(pause)
        raise RefusedError(_UNAVAILABLE, f"the session could not be closed in {_CLOSINGS} attempts")

    async def submit(self, session: str, request: SubmitRequest) -> SubmitAnswer:
        """Submit tasks; wait and come again, with the same key, as long as the session's quota is full (429)."""
        body, headers = msgspec.msgpack.encode(request), _keyed(_MSGPACK)
        while True:
            async with self._client.post(f"/v1/sessions/{session}/tasks", data=body, headers=headers) as answer:
                if answer.status != _BUSY:
                    return await _read(answer, SubmitAnswer)
                await answer.read()
                pause = float(answer.headers.get("Retry-After", "1"))
            self.refused += 1
            await asyncio.sleep(pause)

    async def submit_one(self, session: str, payload: bytes) -> SubmitAnswer:
        """Submit one task as plain bytes."""
        async with self._client.post(f"/v1/sessions/{session}/tasks", data=payload, headers=_keyed(_OCTETS)) as answer:
            return await _read(answer, SubmitAnswer)

    async def fetch(self, session: str, after: str, *, count: int, wait: float) -> FetchAnswer:
        """Fetch outputs behind a cursor, which acknowledges everything before it."""
        query = {"after": after, "countMax": str(count), "wait": f"{wait:g}"}
        async with self._client.get(f"/v1/sessions/{session}/outputs", params=query) as answer:
            return await _read(answer, FetchAnswer)

    async def _post(self, path: str, request: msgspec.Struct, kind: type[A]) -> A:
        async with self._client.post(path, data=msgspec.msgpack.encode(request), headers=_keyed(_MSGPACK)) as answer:
            return await _read(answer, kind)

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("used outside its block")
        return self._http


def _keyed(content_type: str) -> Mapping[str, str]:
    return {"Content-Type": content_type, "Idempotency-Key": secrets.token_hex(16)}


async def _read(answer: aiohttp.ClientResponse, kind: type[A]) -> A:
    return msgspec.msgpack.decode(await _accepted(answer), type=kind)


async def _accepted(answer: aiohttp.ClientResponse) -> bytes:
    body = await answer.read()
    if not answer.ok:
        raise RefusedError(answer.status, body.decode(errors="replace"))
    return body
