"""What can go wrong, named by what a caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sluiceway.records import ItemError, Problem, SymphonyException

__all__ = [
    "AuthenticationError",
    "CertificateError",
    "CodecError",
    "CredentialsError",
    "ForbiddenError",
    "GatewayUnreachableError",
    "GoneError",
    "InvalidRequestError",
    "NotFoundError",
    "ProblemError",
    "ProtocolError",
    "SessionBusyError",
    "SessionClosedError",
    "SluicewayError",
    "SubmissionError",
    "TaskCancelled",
    "TaskFailed",
    "TooManyRequestsError",
    "UnavailableError",
    "problem_error",
    "task_error",
]


class SluicewayError(Exception):
    """Base of everything that this package raises on purpose."""


class GatewayUnreachableError(SluicewayError):
    """Raised when no gateway answered before the deadline; the cause is the last failure."""


class CertificateError(GatewayUnreachableError):
    """Raised when every gateway showed a certificate that is not trusted: name the right ``ca_file``."""


class CredentialsError(SluicewayError):
    """Raised when the token's file or command gives no token, or a proxy wants other credentials."""


class ProtocolError(SluicewayError):
    """Raised when an answer is not what a gateway sends: something else may stand at that address."""


class CodecError(SluicewayError):
    """Raised when a value cannot be turned into bytes by the session's codec, or bytes not into a value."""


class SessionBusyError(SluicewayError):
    """Raised when ``outputs()`` and futures or ``map()`` want the outputs of one session at the same time."""


class ProblemError(SluicewayError):
    """Raised when a gateway refused a request with a problem document (RFC 9457).

    Args:
        problem: The document; ``problem.code`` is stable, for programs.
        gateway: The address that sent it.
        retry_after: Seconds that the gateway asked to wait, where it did.
    """

    def __init__(self, problem: Problem, *, gateway: str = "", retry_after: float | None = None) -> None:
        parts = [f"{problem.status} {problem.code}: {problem.detail or problem.title}"]
        if problem.request_id:
            parts.append(f"(request {problem.request_id})")
        super().__init__(" ".join(parts))
        self.problem = problem
        self.gateway = gateway
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The stable word for what happened, for example ``session-closed``."""
        return self.problem.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def detail(self) -> str:
        """What happened, for people."""
        return self.problem.detail

    @property
    def request_id(self) -> str:
        """What the gateway's log knows this request by."""
        return self.problem.request_id


class InvalidRequestError(ProblemError):
    """Raised for a request that can never be right as it is (400, 406, 413, 415, 422)."""


class AuthenticationError(ProblemError):
    """Raised when the token is missing or not valid, also after it was read anew (401)."""


class ForbiddenError(ProblemError):
    """Raised when the caller may not do this (403)."""


class NotFoundError(ProblemError):
    """Raised for an id, grid or application that does not exist or is not the caller's (404)."""


class SessionClosedError(ProblemError):
    """Raised when the session takes no more work: it was closed or aborted (409)."""


class GoneError(ProblemError):
    """Raised when a session, a connection or the outputs at a cursor are no longer kept (410)."""


class TooManyRequestsError(ProblemError):
    """Raised when a quota stayed full until the deadline (429): fetch outputs while sending, or send less at once."""


class UnavailableError(ProblemError):
    """Raised when the grid, the broker or the gateway stayed unavailable until the deadline (5xx)."""


_BY_CODE: Mapping[str, type[ProblemError]] = {"session-closed": SessionClosedError, "session-aborted": SessionClosedError}
_BY_STATUS: Mapping[int, type[ProblemError]] = {
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    410: GoneError,
    429: TooManyRequestsError,
}
_SERVER_ERRORS = 500


def problem_error(problem: Problem, *, gateway: str = "", retry_after: float | None = None) -> ProblemError:
    """Return the exception for a problem document."""
    otherwise = UnavailableError if problem.status >= _SERVER_ERRORS else InvalidRequestError
    kind = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status, otherwise)
    return kind(problem, gateway=gateway, retry_after=retry_after)


class SubmissionError(SluicewayError):
    """Raised when some task inputs of a bulk submission were not taken.

    Args:
        task_ids: The id of each input, in order; None where there is none. Inputs with an id are stored and will run.
        refusals: Why single inputs were refused, by their place in the submission.
    """

    def __init__(self, task_ids: Sequence[str | None], refusals: Mapping[int, ItemError]) -> None:
        missing = sum(1 for one in task_ids if one is None)
        first = next(iter(refusals.items()), None)
        reason = f"; input {first[0]}: {first[1].code}: {first[1].detail}" if first else ""
        super().__init__(f"{missing} of {len(task_ids)} task inputs were not taken{reason}")
        self.task_ids = tuple(task_ids)
        self.refusals = dict(refusals)


class TaskFailed(SluicewayError):  # noqa: N818 - the word that Symphony's users know
    """Raised for a task that ended without an output; carries Symphony's exception.

    Args:
        exception: The grid's own words, with the service's exception embedded.
        task_id: The task.
        tag: The tag that it was sent with.
    """

    def __init__(self, exception: SymphonyException, *, task_id: str, tag: str = "") -> None:
        inner = exception.embedded
        embedded = f" [{inner.error_type} {inner.error_code}: {inner.message}]" if inner else ""
        super().__init__(f"task {task_id}: {exception.error_type} {exception.error_code} ({exception.code}): {exception.message}{embedded}")
        self.exception = exception
        self.task_id = task_id
        self.tag = tag

    @property
    def code(self) -> str:
        """The stable word for what happened, for example ``service-exception``."""
        return self.exception.code


class TaskCancelled(TaskFailed):
    """Raised for a task that was taken back before it had an output."""


def task_error(exception: SymphonyException, *, task_id: str, tag: str = "") -> TaskFailed:
    """Return the exception for an unsuccessful task."""
    kind = TaskCancelled if exception.code == "cancelled" else TaskFailed
    return kind(exception, task_id=task_id, tag=tag)
