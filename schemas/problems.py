"""Problem codes: the one table of what can go wrong at the HTTP interface, with status, title and whether a retry helps.

A problem is answered as RFC 9457 ``application/problem+json`` with the extra members ``code`` (stable, for programs) and ``requestId``.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["PROBLEMS", "Problem", "ProblemKind", "problem_type"]


class ProblemKind(msgspec.Struct, frozen=True):
    """One row of the table."""

    status: int
    title: str
    retry: bool = False
    """Whether the same request, repeated with the same ``Idempotency-Key``, may succeed."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An RFC 9457 problem details object."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    instance: str = ""
    request_id: str = ""


def problem_type(code: str) -> str:
    """Return the URI that names a problem code; a relative reference that the documentation page of every gateway answers."""
    return f"/docs/problems#{code}"


PROBLEMS: Final[dict[str, ProblemKind]] = {
    "malformed-body": ProblemKind(400, "The body cannot be read"),
    "invalid-attribute": ProblemKind(400, "An attribute has a value that is not allowed"),
    "invalid-parameter": ProblemKind(400, "A query parameter or header has a value that is not allowed"),
    "idempotency-key-missing": ProblemKind(400, "The header Idempotency-Key is required"),
    "invalid-cursor": ProblemKind(400, "The cursor is not one of this session"),
    "unknown-session-type": ProblemKind(400, "The application has no such session type"),
    "session-refused": ProblemKind(400, "The grid refused the session"),
    "unauthenticated": ProblemKind(401, "Credentials are missing or not valid"),
    "forbidden": ProblemKind(403, "The caller may not do this"),
    "not-found": ProblemKind(404, "There is no such resource"),
    "unknown-grid": ProblemKind(404, "There is no such grid, or the caller may not use it"),
    "unknown-application": ProblemKind(404, "The grid has no such application, or the caller may not use it"),
    "unknown-connection": ProblemKind(404, "There is no such connection"),
    "unknown-session": ProblemKind(404, "There is no such session"),
    "unknown-task": ProblemKind(404, "There is no visible output of such a task"),
    "method-not-allowed": ProblemKind(405, "The resource does not have this method"),
    "not-acceptable": ProblemKind(406, "None of the accepted media types can be given"),
    "request-timeout": ProblemKind(408, "The request did not arrive in time", retry=True),
    "session-closed": ProblemKind(409, "The session is closed"),
    "session-aborted": ProblemKind(409, "The session was aborted"),
    "session-pending": ProblemKind(503, "No bridge has claimed the session yet", retry=True),
    "too-many-submissions": ProblemKind(409, "The session has reached its limit of submissions"),
    "connection-expired": ProblemKind(410, "The connection has expired"),
    "session-gone": ProblemKind(410, "The session and its outputs are gone"),
    "cursor-expired": ProblemKind(410, "Outputs at this cursor are no longer kept"),
    "body-too-large": ProblemKind(413, "The body is larger than allowed"),
    "header-too-large": ProblemKind(431, "The request's headers are larger than allowed"),
    "task-too-large": ProblemKind(413, "A task input is larger than allowed"),
    "unsupported-media-type": ProblemKind(415, "The content type is not one that this resource reads"),
    "idempotency-key-reused": ProblemKind(422, "The Idempotency-Key was used before with another body"),
    "quota-exceeded": ProblemKind(429, "The session's input quota is full", retry=True),
    "too-many-requests": ProblemKind(429, "Too many requests", retry=True),
    "internal-error": ProblemKind(500, "The gateway failed; the event is logged under the request id", retry=True),
    "grid-unavailable": ProblemKind(503, "The grid cannot be reached at the moment", retry=True),
    "no-free-lane": ProblemKind(503, "The grid has no free lane for another session", retry=True),
    "broker-unavailable": ProblemKind(503, "The broker cannot be reached at the moment", retry=True),
    "owner-unavailable": ProblemKind(503, "The session's owner did not answer in time", retry=True),
    "submission-unknown": ProblemKind(503, "It is not known whether the inputs were stored; repeat with the same Idempotency-Key", retry=True),
    "overloaded": ProblemKind(503, "The gateway has no room for this request at the moment", retry=True),
    "draining": ProblemKind(503, "The gateway is shutting down; use another", retry=True),
    "service-unavailable": ProblemKind(503, "The application's service cannot be started on the grid", retry=True),
}
