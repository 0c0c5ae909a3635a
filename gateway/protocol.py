"""uvicorn's HTTP protocol with the limits it lacks: how large a request's head may be and how long a client may take to send it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
import msgspec
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.problems import ProblemError, problem_body

__all__ = ["BODY_HERE", "HeadLimits", "limited_protocol"]

BODY_HERE: Final = "sluiceway.body_here"
"""A key of the ASGI scope, set when the whole body was received."""

_HEADERS_MAX: Final = 100


class HeadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a request's head: bytes of address and headers together, and seconds until it is complete."""

    size: int
    seconds: float


class _LimitedProtocol(HttpToolsProtocol):
    """One connection. A connection that sends nothing, or a head piece by piece, is closed when its time is over."""

    limits: HeadLimits

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_size = 0
        self._head_open = False
        self._head_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head that is too large is answered and ends the connection."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
            # Most heads come in one piece and need no timer.
            if self._head_open and self._head_timer is None:
                self._start_timer()
        except httptools.HttpParserCallbackError as exc:
            if not isinstance(exc.__context__, _HeadTooLargeError):
                raise
            self._refuse("header-too-large")
        except httptools.HttpParserUpgrade:
            # Upgrades are not offered; the request has been started like any other and is answered as such.
            return
        except httptools.HttpParserError:
            self._refuse("malformed-body", "not an HTTP request")

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_size = 0
        self._head_open = True

    @override
    def on_url(self, url: bytes) -> None:
        self._grow(len(url))
        super().on_url(url)

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value))
        super().on_header(name, value)
        if len(self.headers) > _HEADERS_MAX:
            raise _HeadTooLargeError

    @override
    def on_headers_complete(self) -> None:
        self._head_open = False
        self._stop_timer()
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        super().on_message_complete()
        # The application starts in the loop's next turn: a small body is here by then.
        self.scope[BODY_HERE] = True  # type: ignore[typeddict-unknown-key]

    def _grow(self, count: int) -> None:
        self._head_size += count
        if self._head_size > self.limits.size:
            raise _HeadTooLargeError

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.seconds, self._head_too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse("request-timeout")

    def _refuse(self, code: str, detail: str = "") -> None:
        """Answer without the application; while an earlier request of this connection is still being answered, just close."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            error = ProblemError(code, detail)
            body = problem_body(error, "")
            head = f"HTTP/1.1 {error.kind.status} Refused\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
        self.transport.close()


class _HeadTooLargeError(Exception):
    """Raised out of the parser's callbacks."""


def limited_protocol(limits: HeadLimits) -> type[asyncio.Protocol]:
    """Return the protocol class that uvicorn is given as ``http``."""
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": limits})
