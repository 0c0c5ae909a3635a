"""How failed runs read for the client: Symphony's exception shape, from what a worker process said or left behind."""

from __future__ import annotations

import signal

from bridge.connectors.local.frames import Failure
from schemas.symphony import EmbeddedException, ErrorType, SymphonyException

__all__ = ["cancelled", "describe_exit", "exited", "session_aborted", "timed_out", "unavailable", "unfold"]


def unfold(failure: Failure) -> SymphonyException:
    """Turn a worker's answer into Symphony's shape. What the service itself raised is embedded; what we found wrong with it is not."""
    kind = ErrorType.FAILURE if failure.retry else ErrorType.FATAL
    if failure.code not in ("service-exception", "session-enter-failed"):
        return SymphonyException(error_type=kind, code=failure.code, message=failure.message)
    embedded = EmbeddedException(error_type=failure.error_type, error_code=failure.error_code, message=failure.message)
    return SymphonyException(error_type=kind, error_code=failure.error_code, code=failure.code, message=failure.message, embedded=embedded)


def describe_exit(status: int) -> str:
    """Name an exit status as the operating system gives it: a code, or a signal as a negative number."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def exited(status: int) -> SymphonyException:
    """The service's process was gone before the run was finished."""
    return SymphonyException(error_type=ErrorType.FAILURE, code="service-exited", message=f"the service's process ended in the run: {describe_exit(status)}")


def timed_out(limit: float) -> SymphonyException:
    """The run took longer than it may. ``limit``: seconds."""
    return SymphonyException(error_type=ErrorType.FAILURE, code="task-timeout", message=f"the run took longer than {limit:g} s and was ended")


def cancelled() -> SymphonyException:
    """The task was taken back."""
    return SymphonyException(error_type=ErrorType.CANCELLED, code="cancelled", message="the task was cancelled")


def session_aborted() -> SymphonyException:
    """Another task failed, and the session type says that this ends the session."""
    return SymphonyException(error_type=ErrorType.FATAL, code="session-aborted", message="another task of the session failed, which aborts this session type")


def unavailable(reason: str) -> SymphonyException:
    """No worker process could be started."""
    return SymphonyException(error_type=ErrorType.FATAL, code="service-unavailable", message=reason)
