"""The one table of routes: what v1 of the HTTP interface consists of, with the policy of each route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.administration import Administration
from gateway.collection import Collection
from gateway.connections import Connections
from gateway.inquiry import Inquiry
from gateway.media import EVENTS, JSON, MSGPACK, OCTETS
from gateway.routes import Handler, Parameter, Route
from gateway.security.policies import Policy
from gateway.sessions import Sessions
from gateway.submission import Submission
from schemas.http import (
    COUNT_DEFAULT,
    COUNT_MAX,
    CancelAnswer,
    CancelRequest,
    CloseRequest,
    CommonDataRequest,
    ConnectAnswer,
    ConnectRequest,
    CreateSessionRequest,
    FetchAnswer,
    GridList,
    OpenSessionRequest,
    PriorityRequest,
    SessionAnswer,
    SessionDescription,
    SessionList,
    SubmitAnswer,
    SubmitRequest,
    TaskOutputItem,
)

__all__ = ["Operations", "interface"]

_SESSION: Final = "/v1/sessions/{sessionId}"
_CONNECTION: Final = "/v1/connections/{connectionId}"

_CLOSE_FLAGS: Final = Parameter(name="closeFlags", description="`DESTROY_ON_CLOSE` (1, the default) or `DETACH_ON_CLOSE` (2).")
_TASK_HEADERS: Final = (
    Parameter(name="Task-Tag", place="header", description="For `application/octet-stream`: the task's tag."),
    Parameter(name="Task-Priority", place="header", description="For `application/octet-stream`: 1 to 10000.", schema={"type": "integer"}),
    Parameter(name="Task-Timeout", place="header", description="For `application/octet-stream`: seconds.", schema={"type": "number"}),
)
_FETCH: Final = (
    Parameter(
        name="countMax",
        description="The most outputs to hand out.",
        schema={"type": "integer", "minimum": 1, "maximum": COUNT_MAX, "default": COUNT_DEFAULT},
    ),
    Parameter(name="after", description="The cursor of the last answer: acknowledges everything before it. Without it: from the start."),
    Parameter(
        name="wait",
        description="Seconds to wait while there is no output, up to 30; `Prefer: wait=` does the same.",
        schema={"type": "number", "minimum": 0, "default": 0},
    ),
    Parameter(name="Last-Event-ID", place="header", description="For `text/event-stream`: the cursor of the last event."),
)


class Operations(msgspec.Struct, frozen=True, kw_only=True):
    """The rooms' services whose methods are the handlers."""

    connections: Connections
    sessions: Sessions
    submission: Submission
    collection: Collection
    inquiry: Inquiry
    administration: Administration


def interface(operations: Operations) -> Sequence[Route]:
    """Return every route of v1."""
    return [*_hot(operations), *_connections(operations), *_sessions(operations), *_session_changes(operations), *_commands(operations)]


def _hot(operations: Operations) -> list[Route]:
    """The routes that are called most come first, since they are looked for in this order."""
    return [
        Route(
            method="POST",
            path=f"{_SESSION}/tasks",
            operation="sendTaskInput",
            policy=Policy.CALLER,
            handler=operations.submission.send,
            summary="Send one or many task inputs",
            group="tasks",
            request=SubmitRequest,
            request_types=(JSON, MSGPACK, OCTETS),
            answer=SubmitAnswer,
            statuses=(202,),
            problems=("session-pending", "session-closed", "quota-exceeded", "submission-unknown", "task-too-large", "idempotency-key-reused"),
            parameters=_TASK_HEADERS,
            keyed=True,
        ),
        Route(
            method="GET",
            path=f"{_SESSION}/outputs",
            operation="fetchTaskOutput",
            policy=Policy.CALLER,
            handler=operations.collection.fetch,
            summary="Fetch the outputs behind a cursor",
            group="tasks",
            answer=FetchAnswer,
            answer_types=(JSON, MSGPACK, EVENTS),
            problems=("invalid-cursor", "cursor-expired", "session-refused"),
            parameters=_FETCH,
        ),
        Route(
            method="GET",
            path=f"{_SESSION}/outputs/{{taskId}}",
            operation="getTaskOutput",
            policy=Policy.CALLER,
            handler=operations.collection.get_output,
            summary="Get one output as bytes",
            group="tasks",
            answer=TaskOutputItem,
            answer_types=(OCTETS, JSON, MSGPACK),
            problems=("unknown-task",),
        ),
    ]


def _connections(operations: Operations) -> list[Route]:
    connections = operations.connections
    return [
        Route(
            method="GET",
            path="/v1/grids",
            operation="listGrids",
            policy=Policy.CALLER,
            handler=connections.list_grids,
            summary="List the grids that the caller may use",
            group="connections",
            answer=GridList,
            statuses=(200, 304),
            parameters=(Parameter(name="If-None-Match", place="header", description="The ETag of an answer that is still at hand."),),
        ),
        Route(
            method="POST",
            path="/v1/connections",
            operation="connect",
            policy=Policy.CALLER,
            handler=connections.connect,
            summary="Connect to an application of a grid",
            group="connections",
            request=ConnectRequest,
            answer=ConnectAnswer,
            statuses=(201,),
            problems=("unknown-grid", "unknown-application", "idempotency-key-reused"),
            keyed=True,
        ),
        *_twins("DELETE", _CONNECTION, f"{_CONNECTION}/close", "closeConnection", connections.close, "Close a connection and its sessions", "connections"),
    ]


def _sessions(operations: Operations) -> list[Route]:
    sessions, inquiry = operations.sessions, operations.inquiry
    return [
        Route(
            method="POST",
            path=f"{_CONNECTION}/sessions",
            operation="createSession",
            policy=Policy.CALLER,
            handler=sessions.create,
            summary="Create a session",
            group="sessions",
            request=CreateSessionRequest,
            request_required=False,
            answer=SessionAnswer,
            statuses=(201, 202),
            problems=("unknown-connection", "unknown-session-type", "session-refused", "no-free-lane", "grid-unavailable", "idempotency-key-reused"),
            keyed=True,
        ),
        Route(
            method="POST",
            path=f"{_CONNECTION}/sessions/open",
            operation="openSession",
            policy=Policy.CALLER,
            handler=sessions.open,
            summary="Re-attach to a session that was detached",
            group="sessions",
            request=OpenSessionRequest,
            answer=SessionAnswer,
            problems=("unknown-connection", "unknown-session", "session-closed"),
        ),
        Route(
            method="GET",
            path="/v1/sessions",
            operation="listSessions",
            policy=Policy.CALLER,
            handler=inquiry.list,
            summary="List the caller's sessions",
            group="sessions",
            answer=SessionList,
        ),
        Route(
            method="GET",
            path=_SESSION,
            operation="getSession",
            policy=Policy.CALLER,
            handler=inquiry.get,
            summary="Describe a session",
            group="sessions",
            answer=SessionDescription,
            problems=("unknown-session",),
        ),
    ]


def _session_changes(operations: Operations) -> list[Route]:
    """Closing a session and replacing its common data: verbs with POST twins."""
    return [
        *_twins("DELETE", _SESSION, f"{_SESSION}/close", "closeSession", operations.administration.close, "Close a session", "sessions"),
        *(
            Route(
                method=method,
                path=f"{_SESSION}/common-data",
                operation=operation,
                policy=Policy.CALLER,
                handler=operations.sessions.update,
                summary="Replace a session's common data",
                group="sessions",
                request=CommonDataRequest,
                request_types=(JSON, MSGPACK, OCTETS),
                statuses=(202,),
                problems=("unknown-session", "session-closed", "quota-exceeded"),
            )
            for method, operation in (("PUT", "updateSession"), ("POST", "updateSessionByPost"))
        ),
    ]


def _commands(operations: Operations) -> list[Route]:
    commands = operations.administration
    return [
        _command("suspend", "suspendSession", commands.suspend, "Suspend a session"),
        _command("resume", "resumeSession", commands.resume, "Resume a suspended session"),
        _command("priority", "setSessionPriority", commands.set_priority, "Change a session's priority", request=PriorityRequest),
        Route(
            method="POST",
            path=f"{_SESSION}/tasks/cancel",
            operation="cancelTasks",
            policy=Policy.CALLER,
            handler=commands.cancel,
            summary="Cancel tasks by id or by tag",
            group="tasks",
            request=CancelRequest,
            answer=CancelAnswer,
            statuses=(202,),
            problems=("unknown-session", "unknown-task", "session-closed", "owner-unavailable"),
        ),
    ]


def _command(word: str, operation: str, handler: Handler, summary: str, *, request: type | None = None) -> Route:
    return Route(
        method="POST",
        path=f"{_SESSION}/{word}",
        operation=operation,
        policy=Policy.CALLER,
        handler=handler,
        summary=summary,
        group="sessions",
        request=request,
        statuses=(204,),
        problems=("unknown-session", "session-closed", "owner-unavailable"),
    )


def _twins(method: str, path: str, post_path: str, operation: str, handler: Handler, summary: str, group: str) -> list[Route]:  # noqa: PLR0913, PLR0917 - a row of the table, twice
    """A verb and its POST: firewalls' rule sets refuse DELETE, and Java's HttpURLConnection cannot send PATCH."""
    is_session = group == "sessions"
    common = Route(method=method, path=path, operation=operation, policy=Policy.CALLER, handler=handler, summary=summary, group=group, statuses=(204,))
    problems = ("unknown-session" if is_session else "unknown-connection", "owner-unavailable")
    flags = (_CLOSE_FLAGS,) if is_session else ()
    by_verb = msgspec.structs.replace(common, problems=problems, parameters=flags)
    request = CloseRequest if is_session else None
    by_post = msgspec.structs.replace(by_verb, method="POST", path=post_path, operation=f"{operation}ByPost", request=request, request_required=False)
    return [by_verb, by_post]
