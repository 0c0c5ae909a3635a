"""What a request can fail with inside the gateway, and how that is told to the client (RFC 9457)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from broker.errors import BrokerError, BrokerUnavailableError, RejectedError, UnconfirmedError, UnroutableError
from schemas.problems import PROBLEMS, Problem, problem_type
from schemas.symphony import VocabularyError

__all__ = ["ProblemError", "problem_body", "problem_headers", "translate"]

_RETRY_SECONDS: Final = {429: 1, 503: 2}
"""The least a client should wait; jitter comes on top, or all that were refused together would come back together."""

_BROKER_CODES: Final[tuple[tuple[type[BrokerError], str], ...]] = (
    (UnroutableError, "grid-unavailable"),
    (RejectedError, "quota-exceeded"),
    (UnconfirmedError, "submission-unknown"),
    (BrokerUnavailableError, "broker-unavailable"),
    (BrokerError, "broker-unavailable"),
)


class ProblemError(Exception):
    """A request ends with a problem document.

    Args:
        code: A key of ``schemas.problems.PROBLEMS``.
        detail: What the client may read about it.
        headers: Headers for the answer, such as ``Allow``.
    """

    def __init__(self, code: str, detail: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.kind = PROBLEMS[code]


def translate(error: Exception) -> ProblemError | None:
    """Return the problem that an expected failure of a lower room means, or None when it is not expected."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, VocabularyError):
        return ProblemError("invalid-attribute", str(error))
    for kind, code in _BROKER_CODES:
        if isinstance(error, kind):
            return ProblemError(code)
    return None


def problem_body(error: ProblemError, request_id: str) -> bytes:
    """Return the problem document."""
    kind = error.kind
    document = Problem(type=problem_type(error.code), title=kind.title, status=kind.status, code=error.code, detail=error.detail, request_id=request_id)
    return msgspec.json.encode(document)


def problem_headers(error: ProblemError) -> list[tuple[bytes, bytes]]:
    """Return the headers that go with a problem: ``Retry-After`` with jitter where a repetition may help."""
    headers = [(b"content-type", b"application/problem+json"), (b"cache-control", b"no-store")]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    least = _RETRY_SECONDS.get(error.kind.status)
    if least is not None and "Retry-After" not in error.headers:
        headers.append((b"retry-after", str(least + secrets.randbelow(least + 2)).encode()))
    return headers
