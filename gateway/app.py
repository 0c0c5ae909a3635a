"""The ASGI application: routes matched by Starlette, each request answered by the edge."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.call import Answer, Call
from gateway.edge import Edge
from gateway.problems import ProblemError
from gateway.routes import Handler, Route, check_routes
from gateway.security.policies import Policy

__all__ = ["build_app"]


def build_app(*, routes: Sequence[Route], edge: Edge) -> ASGIApp:
    """Return the application.

    Raises:
        RouteError: The table has holes, such as a route without a policy.
    """
    check_routes(routes)
    by_path: dict[str, dict[str, Route]] = {}
    for route in routes:
        by_path.setdefault(route.path, {})[route.method] = route
    nowhere = _Single(_refusing("not-found", {}), edge)
    resources = [StarletteRoute(path, _Resource(methods, edge)) for path, methods in by_path.items()]
    return _HttpOnly(Router(resources, redirect_slashes=False, default=nowhere))


class _Resource:
    """One path: its methods, and a problem for all others."""

    def __init__(self, methods: dict[str, Route], edge: Edge) -> None:
        self._methods = methods | ({"HEAD": methods["GET"]} if "GET" in methods else {})
        self._other = _refusing("method-not-allowed", {"Allow": ", ".join(sorted(self._methods))})
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._edge.serve(self._methods.get(scope["method"], self._other), scope, receive, send)


class _Single:
    """One route for whatever comes."""

    def __init__(self, route: Route, edge: Edge) -> None:
        self._route = route
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._edge.serve(self._route, scope, receive, send)


class _HttpOnly:
    """Refuses what is no HTTP request; uvicorn is told to offer nothing else, so this is a second lock."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._app(scope, receive, send)


def _refusing(code: str, headers: dict[str, str]) -> Route:
    return Route(method="*", path="*", operation=code, policy=Policy.PUBLIC, handler=_refuser(code, headers), summary=code, group="none", reads=False)


def _refuser(code: str, headers: dict[str, str]) -> Handler:
    async def refuse(_call: Call) -> Answer:
        raise ProblemError(code, headers=headers)

    return refuse
