"""The edge where HTTP requests come in: each passes security, admission, its body's limits and one handler, and is counted and written down."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from gateway.admission import Admission, Hold
from gateway.bodies import ClientGoneError, read_body
from gateway.call import Answer, Call, Streaming
from gateway.codec import encode
from gateway.media import choose, plain_type
from gateway.metrics import GatewayMetrics
from gateway.problems import ProblemError, problem_body, problem_headers, translate
from gateway.protocol import BODY_HERE
from gateway.routes import Route
from gateway.security.audit import AuditTrail
from gateway.security.principals import ANYONE, Principal
from gateway.security.workflow import Visit, Workflow
from gateway.sending import send_problem, send_stream, send_whole
from gateway.settings import Limits
from runtime.logs import bind, get_logger

__all__ = ["Edge", "Exchange"]

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_CLIENT_GONE: Final = 499
"""nginx's number for a client that went away; it is never sent, only counted."""

Headers = Mapping[str, str]


class Exchange:
    """One request and what became of it, for the audit line and the metrics."""

    __slots__ = ("code", "created", "principal", "received", "request_id", "route", "sent", "started", "status", "tasks")

    def __init__(self, *, route: Route, request_id: str) -> None:
        self.route = route
        self.request_id = request_id
        self.started = time.perf_counter()
        self.principal = ANYONE
        self.status = 0
        self.code = ""
        self.created = ""
        self.received = 0
        self.sent = 0
        self.tasks = 0


class Edge:
    """The outermost edge of every request.

    Args:
        workflow: Who may enter.
        audit: Where it is written down.
        admission: How much is taken on at once.
        metrics: What is counted.
        limits: Bounds of bodies and times.
    """

    def __init__(self, *, workflow: Workflow, audit: AuditTrail, admission: Admission, metrics: GatewayMetrics, limits: Limits) -> None:
        self._workflow = workflow
        self._audit = audit
        self._admission = admission
        self._metrics = metrics
        self._limits = limits
        self._log = get_logger(__name__)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def serve(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = Exchange(route=route, request_id=self._request_id(headers))
        bind(request_id=exchange.request_id)
        try:
            await self._answer(exchange, headers, scope, receive, send)
        except ClientGoneError:
            exchange.status = _CLIENT_GONE
        except Exception as error:  # noqa: BLE001 - the outermost edge of a request
            await self._fail(exchange, error, send)
        finally:
            self._close(exchange, scope)

    def _request_id(self, headers: Headers) -> str:
        """A caller's own id is kept, so that its logs and ours can be joined."""
        given = headers.get("x-request-id")
        if given is not None and _REQUEST_ID.match(given):
            return given
        return f"{self._prefix}{next(self._numbers):08x}"

    async def _answer(self, exchange: Exchange, headers: Headers, scope: Scope, receive: Receive, send: Send) -> None:
        route = exchange.route
        self._audit.check()
        exchange.principal = await self._workflow.admit(_visit(route, scope))
        accept = choose(headers.get("accept", ""), route.answer_types) if route.answer is not None else ""
        if route.keyed and not _KEY.match(headers.get("idempotency-key", "")):
            raise ProblemError("idempotency-key-missing", "1 to 255 visible ASCII characters, the same in every repetition of the request")
        with self._admission.enter() as hold:
            body = await self._read(route, headers, scope, receive, hold)
            exchange.received = len(body)
            call = _call(exchange, headers, scope, body, accept)
            answer = await route.handler(call)
            if isinstance(answer, Streaming):
                exchange.status = 200
                exchange.sent = await send_stream(answer, exchange.request_id, receive, send)
                return
            await self._send(exchange, answer, accept, hold, send)

    async def _read(self, route: Route, headers: Headers, scope: Scope, receive: Receive, hold: Hold) -> bytes:
        if not route.reads:
            return b""
        limits = self._limits
        return await read_body(receive, headers, is_here=BODY_HERE in scope, limit=limits.body_bytes, seconds=limits.body_seconds, hold=hold)

    async def _send(self, exchange: Exchange, answer: Answer, accept: str, hold: Hold, send: Send) -> None:
        content, content_type = (answer.body, answer.content_type) if isinstance(answer.body, bytes) else (b"", "")
        if answer.body is not None and not isinstance(answer.body, bytes):
            content, content_type = encode(answer.body, accept), accept
        hold.add(len(content))
        exchange.status, exchange.sent, exchange.tasks = answer.status, len(content), answer.tasks
        exchange.created = answer.headers.get("Location", "")
        await send_whole(send, answer.status, content, content_type, answer.headers, exchange.request_id)

    async def _fail(self, exchange: Exchange, error: Exception, send: Send) -> None:
        problem = translate(error)
        if problem is None:
            self._log.error("request failed", operation=exchange.route.operation, exc_info=error)
            problem = ProblemError("internal-error")
        else:
            self._log.info(
                "request refused", operation=exchange.route.operation, code=problem.code, detail=problem.detail, cause=repr(error.__cause__ or error)[:300]
            )
        if exchange.status:
            # The answer has begun: nothing can be said any more but that it ends here, and uvicorn closes the connection on an error.
            raise error
        exchange.status, exchange.code = problem.kind.status, problem.code
        body = problem_body(problem, exchange.request_id)
        exchange.sent = len(body)
        await send_problem(send, problem.kind.status, body, problem_headers(problem), exchange.request_id)

    def _close(self, exchange: Exchange, scope: Scope) -> None:
        seconds = time.perf_counter() - exchange.started
        operation = exchange.route.operation
        self._metrics.request(operation, exchange.status, seconds, received=exchange.received, sent=exchange.sent, tasks=exchange.tasks)
        line = self._audit.line(
            source=_source(scope),
            login=exchange.principal.name,
            action=operation,
            target=scope["path"],
            status=exchange.status,
            request_id=exchange.request_id,
            code=exchange.code,
            created=exchange.created,
        )
        self._audit.record(line)
        self._log.debug("request", operation=operation, status=exchange.status, seconds=round(seconds, 6))


def _source(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _visit(route: Route, scope: Scope) -> Visit:
    return Visit(
        scheme=scope["scheme"],
        source=_source(scope),
        policy=route.policy,
        credentials=tuple(value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"),
        query=scope["query_string"].decode("latin-1"),
    )


def _call(exchange: Exchange, headers: Headers, scope: Scope, body: bytes, accept: str) -> Call:
    principal: Principal = exchange.principal
    return Call(
        request_id=exchange.request_id,
        principal=principal,
        path=scope.get("path_params", {}),
        query=_query(exchange.route, scope["query_string"]),
        headers=headers,
        content_type=plain_type(headers.get("content-type", "")),
        accept=accept,
        body=body,
    )


def _query(route: Route, raw: bytes) -> dict[str, str]:
    """Read the query; a misspelt parameter is refused, or its default would be taken in silence."""
    if not raw or not route.reads:
        return {}
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
    except ValueError as exc:
        raise ProblemError("invalid-parameter", "the query cannot be read") from exc
    query = dict(pairs)
    if len(query) != len(pairs):
        raise ProblemError("invalid-parameter", "a query parameter is given twice")
    unknown = query.keys() - {parameter.name for parameter in route.parameters if parameter.place == "query"}
    if unknown:
        raise ProblemError("invalid-parameter", f"this resource has no parameter {min(unknown)[:64]!r}")
    return query
