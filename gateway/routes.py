"""What a route is. The table itself is in ``gateway/interface.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gateway.call import Answer, Call, Streaming
from gateway.media import JSON, MSGPACK
from gateway.security.policies import Policy

__all__ = ["Handler", "Parameter", "Route", "RouteError", "check_routes"]

Handler = Callable[[Call], Awaitable[Answer | Streaming]]


class RouteError(Exception):
    """Raised when the table of routes cannot be served: the gateway does not start."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A query parameter or header that a route reads."""

    name: str
    place: str = "query"
    description: str
    schema: dict[str, object] = msgspec.field(default_factory=lambda: {"type": "string"})
    required: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation."""

    method: str
    path: str
    """With parameters in braces, as OpenAPI and Starlette write them."""
    operation: str
    """The operationId: the original requirement's service name where it has one."""
    policy: Policy | None = None
    handler: Handler
    summary: str
    group: str
    request: type | None = None
    """What a JSON or MessagePack body holds."""
    request_types: Sequence[str] = (JSON, MSGPACK)
    request_required: bool = True
    answer: type | None = None
    answer_types: Sequence[str] = (JSON, MSGPACK)
    """What may be asked for in ``Accept``, the default first."""
    statuses: Sequence[int] = (200,)
    problems: Sequence[str] = ()
    """Codes that callers of this operation should expect beside those of every operation."""
    parameters: Sequence[Parameter] = ()
    reads: bool = True
    """Whether query and body are looked at; answers that refuse the path or the method need neither."""
    keyed: bool = False
    """Whether an ``Idempotency-Key`` is required."""


def check_routes(routes: Sequence[Route]) -> None:
    """Refuse a table with holes.

    Raises:
        RouteError: A route without a policy, two routes for one request, or two with one operation id.
    """
    naked = [f"{route.method} {route.path}" for route in routes if route.policy is None]
    if naked:
        raise RouteError(f"without a security policy: {', '.join(naked)}")
    for what, names in (("request", [f"{r.method} {r.path}" for r in routes]), ("operation", [r.operation for r in routes])):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise RouteError(f"the same {what} twice: {', '.join(twice)}")
