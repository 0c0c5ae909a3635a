"""One request on its way through the gateway, and its answer, free of any web framework's types."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

import msgspec

from gateway.security.principals import Principal

__all__ = ["Answer", "Call", "Streaming"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has passed the security workflow.

    ``headers`` have lower-case names; of a repeated header the last one counts. ``path`` holds the path's parameters,
    ``query`` the query's (a repeated one is refused before).
    """

    request_id: str
    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content_type: str
    accept: str
    """The media type that the answer will have."""
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's value, empty when it is missing; ``name`` is lower-case."""
        return self.headers.get(name, "")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: a struct to be encoded as the client accepts, or bytes with a type of their own."""

    status: int = 200
    body: msgspec.Struct | bytes | None = None
    content_type: str = ""
    """Of a body that is bytes."""
    headers: Mapping[str, str] = {}
    tasks: int = 0
    """Task inputs or outputs that the answer is about, for the metrics."""


class Streaming(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of unknown length."""

    content_type: str
    parts: Callable[[], AsyncGenerator[bytes, None]]
    headers: Mapping[str, str] = {}
