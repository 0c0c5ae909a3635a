"""The status listener of a process: plain HTTP with ``/livez``, ``/readyz`` and ``/metrics``, apart from all client traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import msgspec
import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.listener import Listener, bind

__all__ = ["Readiness", "StatusServer"]

_PATIENCE: Final = 2.0
"""Seconds that a readiness question may take: load balancers give up after about that long."""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a process may be sent work, and if not, why."""

    ready: bool
    problems: tuple[str, ...] = ()


class StatusServer:
    """Async context manager that answers status questions while its block runs.

    ``/livez`` says that the event loop turns and asks nothing else: a process whose broker is away must not be restarted for it.
    ``/readyz`` asks ``readiness``. ``/metrics`` is Prometheus' text format.

    Args:
        host: The address to listen on.
        port: The port; 0 takes any free one.
        registry: The metrics of this process.
        readiness: Called for every ``/readyz``; an answer that takes longer than 2 s counts as not ready.

    Raises:
        ListenError: The address cannot be listened on.
    """

    def __init__(self, *, host: str, port: int, registry: CollectorRegistry, readiness: Callable[[], Awaitable[Readiness]]) -> None:
        self._registry = registry
        self._readiness = readiness
        routes = [Route("/livez", self._live), Route("/readyz", self._ready), Route("/metrics", self._metrics)]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            limit_concurrency=64,
            timeout_graceful_shutdown=1,
        )
        self._listener = Listener(config=config, bound=bind(host, port))

    @property
    def port(self) -> int:
        """The port, also when any free one was asked for."""
        return self._listener.port

    async def __aenter__(self) -> Self:
        """Start to answer."""
        await self._listener.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop to answer."""
        await self._listener.__aexit__(kind, error, trace)

    async def _live(self, _request: Request) -> Response:
        return _json({"alive": True}, 200)

    async def _ready(self, _request: Request) -> Response:
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await self._readiness()
        except TimeoutError:
            answer = Readiness(ready=False, problems=(f"the check took longer than {_PATIENCE:g} s",))
        return _json(answer, 200 if answer.ready else 503)

    async def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        # The process' own figures are read from files below /proc.
        text = await asyncio.to_thread(encode, self._registry)
        return Response(text, headers={"content-type": content_type})


def _json(content: object, status: int) -> Response:
    return Response(msgspec.json.encode(content), status, {"content-type": "application/json", "cache-control": "no-store"})
