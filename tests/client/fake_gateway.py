"""A fake: gateways over one grid in memory that echo task inputs, and break on request.

Only for the client's retries and fail-over; what gateways really do is tested against real ones. Its bodies are the real
``schemas``, so that client and server agree on the wire here too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET

from schemas.http import (
    CancelAnswer,
    CancelRequest,
    ConnectAnswer,
    ConnectRequest,
    CreateSessionRequest,
    FetchAnswer,
    GridDescription,
    GridList,
    ItemError,
    OpenSessionRequest,
    SessionAnswer,
    SessionDescription,
    SessionList,
    SubmitAnswer,
    SubmitRequest,
    SubmittedTask,
    TaskOutputItem,
)
from schemas.problems import PROBLEMS, Problem
from schemas.symphony import EmbeddedException, SymphonyException

__all__ = ["FakeGateway", "FakeGrid", "Fault", "Seen", "cut", "fake_gateways", "lose_answer", "refuse"]

MSGPACK = "application/msgpack"


@dataclass
class FakeSession:
    """One session's state, as every fake gateway sees it."""

    outputs: list[TaskOutputItem] = field(default_factory=list)
    known: dict[str, list[str]] = field(default_factory=dict)
    common: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    acknowledged: int = 0
    executed: int = 0
    ended: bool = False
    hold: bool = False
    """Whether tasks are kept from running."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


@dataclass
class FakeGrid:
    """What stands behind all fake gateways."""

    sessions: dict[str, FakeSession] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    attributes: list[CreateSessionRequest] = field(default_factory=list)
    pending: int = 0
    """How many status answers say that a new session is still pending."""


@dataclass(frozen=True)
class Seen:
    """A request as a fake gateway saw it."""

    method: str
    path: str
    key: str
    headers: dict[str, str]
    query: dict[str, str]
    size: int


Fault = Callable[[web.Request, Callable[[], Any]], Any]


def refuse(code: str, *, status: int | None = None, retry_after: str | None = None) -> Fault:
    """Answer with a problem document instead of doing anything."""

    async def fault(_request: web.Request, _serve: Callable[[], Any]) -> web.StreamResponse:
        kind = PROBLEMS[code]
        problem = Problem(type=f"/docs/problems#{code}", title=kind.title, status=status or kind.status, code=code, detail="on request", request_id="r-1")
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return web.Response(status=problem.status, body=msgspec.json.encode(problem), content_type="application/problem+json", headers=headers)

    return fault


async def cut(request: web.Request, _serve: Callable[[], Any]) -> web.StreamResponse:
    """Drop the connection before anything is done."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def lose_answer(request: web.Request, serve: Callable[[], Any]) -> web.StreamResponse:
    """Do what is asked, then drop the connection in the middle of the answer (faults F1 and F2)."""
    await serve()
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"\x81")
    assert request.transport is not None
    request.transport.abort()
    return response


class FakeGateway:
    """One gateway of several over the same grid."""

    def __init__(self, grid: FakeGrid) -> None:
        self.grid = grid
        self.faults: list[tuple[str, Fault]] = []
        """What happens to the next requests whose path contains the text, instead of their being served."""
        self.seen: list[Seen] = []
        self.tokens: set[str] | None = None
        self.body_max = 16 * 1024 * 1024
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on any free port of this machine."""
        app = web.Application(client_max_size=self.body_max * 2)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Die: connections break, the port is closed."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def paths(self, part: str) -> list[Seen]:
        """Return the requests seen whose path contains a text."""
        return [one for one in self.seen if part in one.path]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        key = request.headers.get("Idempotency-Key", "")
        self.seen.append(Seen(request.method, request.path, key, dict(request.headers), dict(request.query), len(body)))
        if self.tokens is not None and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return await refuse("unauthenticated")(request, lambda: None)  # type: ignore[no-any-return]

        async def serve() -> web.StreamResponse:
            return await self._serve(request, body)

        for place, (part, fault) in enumerate(self.faults):
            if part in request.path:
                del self.faults[place]
                return await fault(request, serve)  # type: ignore[no-any-return]
        return await serve()

    async def _serve(  # noqa: PLR0911 - one return for each route
        self, request: web.Request, body: bytes
    ) -> web.StreamResponse:
        match request.path.strip("/").split("/"):
            case ["v1", "grids"]:
                return _answer(GridList(grids=[GridDescription(name="FAKE", state="up", kind="fake", applications=["Echo"])]))
            case ["v1", "connections"]:
                wanted = msgspec.msgpack.decode(body, type=ConnectRequest)
                return _answer(ConnectAnswer(connection_id="c1", grid="FAKE", application_name=wanted.application_name), status=201)
            case ["v1", "connections", _, "sessions"]:
                return self._create(request, body)
            case ["v1", "connections", _, "sessions", "open"]:
                wanted_id = msgspec.msgpack.decode(body, type=OpenSessionRequest).session_id
                return _answer(_session_answer(wanted_id, self.grid.sessions[wanted_id].acknowledged))
            case ["v1", "connections", _, "close"]:
                return web.Response(status=204)
            case ["v1", "sessions"]:
                return _answer(SessionList(sessions=[_describe(one, "open") for one in self.grid.sessions]))
            case ["v1", "sessions", name, *rest]:
                return await self._session(request, body, name, rest)
            case _:
                pass
        return await refuse("not-found")(request, lambda: None)  # type: ignore[no-any-return]

    def _create(self, request: web.Request, body: bytes) -> web.Response:
        self.grid.attributes.append(msgspec.msgpack.decode(body, type=CreateSessionRequest))
        name = self.grid.keys.setdefault(request.headers["Idempotency-Key"], f"s{len(self.grid.sessions) + 1}")
        self.grid.sessions.setdefault(name, FakeSession())
        pending = self.grid.pending > 0
        return _answer(_session_answer(name, 0, "pending" if pending else "open"), status=202 if pending else 201)

    async def _session(  # noqa: PLR0911 - one return for each route
        self, request: web.Request, body: bytes, name: str, rest: list[str]
    ) -> web.StreamResponse:
        session = self.grid.sessions[name]
        match rest:
            case []:
                self.grid.pending -= 1
                return _answer(_describe(name, "pending" if self.grid.pending >= 0 else "open"))
            case ["tasks"]:
                return await self._submit(request, body, session)
            case ["outputs"]:
                return await _fetch(request, session)
            case ["outputs", task_id]:
                found = [one for one in session.outputs if one.task_id == task_id]
                if not found:
                    return await refuse("unknown-task")(request, lambda: None)  # type: ignore[no-any-return]
                return _answer(found[0])
            case ["common-data"]:
                session.common.append(body)
            case ["tasks", "cancel"]:
                wanted = msgspec.msgpack.decode(body, type=CancelRequest)
                session.canceled += [] if wanted.task_ids is UNSET else wanted.task_ids
                return _answer(CancelAnswer(requested=1), status=202)
            case [verb]:
                session.calls.append(verb)
                if verb == "close":
                    session.calls.append(repr(msgspec.msgpack.decode(body)))
            case _:
                pass
        return web.Response(status=204)

    async def _submit(self, request: web.Request, body: bytes, session: FakeSession) -> web.StreamResponse:
        if len(body) > self.body_max:
            return await refuse("body-too-large")(request, lambda: None)  # type: ignore[no-any-return]
        tasks = msgspec.msgpack.decode(body, type=SubmitRequest).tasks
        key = request.headers["Idempotency-Key"]
        items = []
        for place, task in enumerate(tasks):
            if task.tag.startswith("!"):
                items.append(SubmittedTask(error=ItemError(code="invalid-attribute", detail="tag")))
                continue
            items.append(SubmittedTask(task_id=hashlib.sha256(f"{key}/{place}".encode()).hexdigest()[:12]))
        if key not in session.known:
            session.known[key] = [one.task_id for one in items]
            for task, item in zip(tasks, items, strict=True):
                if item.task_id and not session.hold:
                    session.executed += 1
                    session.outputs.append(_run(task.task_input, item.task_id, task.tag, len(session.outputs) + 1))
            async with session.changed:
                session.changed.notify_all()
        return _answer(SubmitAnswer(tasks=items), status=202)


def _run(payload: bytes, task_id: str, tag: str, sequence: int) -> TaskOutputItem:
    if payload.startswith(b"fail"):
        embedded = EmbeddedException(error_type="FailureException", error_code=42, message=payload.decode())
        exception = SymphonyException(error_type="FailureException", error_code=7, code="service-exception", message="the service raised", embedded=embedded)
        return TaskOutputItem(task_id=task_id, sequence=sequence, successful=False, tag=tag, exception=exception, finished_at=1.5)
    return TaskOutputItem(task_id=task_id, sequence=sequence, successful=True, tag=tag, output=payload, finished_at=1.5)


async def _fetch(request: web.Request, session: FakeSession) -> web.Response:
    after, limit, wait = int(request.query["after"] or 0), int(request.query["countMax"]), float(request.query["wait"])
    session.acknowledged = max(session.acknowledged, after)

    def ready() -> bool:
        return len(session.outputs) > after or session.ended

    async with session.changed:
        if wait and not ready():
            with suppress(TimeoutError):
                await asyncio.wait_for(session.changed.wait_for(ready), wait)
    run = session.outputs[after : after + limit]
    cursor = after + len(run)
    more = cursor < len(session.outputs)
    return _answer(FetchAnswer(outputs=run, cursor=str(cursor), more=more, ended=session.ended and not more))


def _session_answer(name: str, acknowledged: int, state: str = "open") -> SessionAnswer:
    return SessionAnswer(session_id=name, state=state, grid="FAKE", cluster="FAKE", native_id="17", cursor=str(acknowledged))


def _describe(name: str, state: str) -> SessionDescription:
    return SessionDescription(session_id=name, state=state, grid="FAKE", cluster="FAKE", application_name="Echo")


def _answer(value: msgspec.Struct, *, status: int = 200) -> web.Response:
    # A member that no client knows yet: readers must not mind.
    plain = {**msgspec.to_builtins(value, builtin_types=(bytes,)), "notKnownYet": [1]}
    return web.Response(status=status, body=msgspec.msgpack.encode(plain), content_type=MSGPACK)


@asynccontextmanager
async def fake_gateways(count: int) -> AsyncIterator[list[FakeGateway]]:
    """Start some fake gateways over one fake grid."""
    grid = FakeGrid()
    gateways = [FakeGateway(grid) for _ in range(count)]
    try:
        for one in gateways:
            await one.start()
        yield gateways
    finally:
        for one in gateways:
            await one.stop()
