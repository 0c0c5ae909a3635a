"""What the author of a service writes against: a class with Symphony's life cycle and two exceptions.

Needs nothing but ``msgspec``, so that a service can be written and tested without a broker or a bridge. A service is named in an
application profile by its entry point, ``module:Class``; the class is called without arguments, once per worker process.

Example:
    A service that adds the session's common data to each task input::

        from bridge.services import Service, SessionContext, TaskContext


        class Adder(Service):
            def session_enter(self, session: SessionContext) -> None:  # noqa: B027 (a service overrides what it needs)
                self._base = int(session.common_data or b"0")

            def invoke(self, task: TaskContext) -> bytes:
                return str(self._base + int(task.payload)).encode()
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

__all__ = ["FailureException", "FatalException", "Service", "ServiceError", "SessionContext", "TaskContext"]


class ServiceError(Exception):
    """Raised by a service to fail what it was asked to do; the client reads message and code as the embedded exception.

    Args:
        message: What the client reads, cut to 4 KiB of UTF-8. The traceback stays on the grid.
        code: A number of the author's own, within 32 bits and signed; any other is sent as 0.
        fatal: True when trying again cannot help.
    """

    def __init__(self, message: str = "", code: int = 0, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.fatal = fatal


class FailureException(ServiceError):  # noqa: N818 (Symphony's name)
    """The task failed this time: it is run again until the session type's ``task_retry_limit`` is used up.

    Args:
        message: What the client reads.
        code: A number of the author's own.
    """

    def __init__(self, message: str = "", code: int = 0) -> None:
        super().__init__(message, code, fatal=False)


class FatalException(ServiceError):  # noqa: N818 (Symphony's name)
    """The task can never succeed: it fails at once, without another run.

    Args:
        message: What the client reads.
        code: A number of the author's own.
    """

    def __init__(self, message: str = "", code: int = 0) -> None:
        super().__init__(message, code, fatal=True)


class SessionContext(msgspec.Struct, frozen=True, kw_only=True):
    """The session that a service instance is bound to."""

    session_id: str
    """The session's nonce in hexadecimal digits: the same in every worker process."""
    session_tag: str = ""
    common_data: bytes | None = None
    """What the client gave for the whole session; None when it gave nothing."""


class TaskContext(msgspec.Struct, frozen=True, kw_only=True):
    """One task input."""

    session: SessionContext
    task_id: str
    """The task's id in hexadecimal digits; the same when the task is run again."""
    tag: str = ""
    payload: bytes


class Service(ABC):
    """Base of all services. One instance lives in one process and runs one task at a time, so its verbs need no locks.

    A task may be run more than once (after a crash, a time-out, a suspension or a take-over), as on any grid: ``invoke`` should not
    depend on being called only once. Exceptions of ``invoke``: ``FailureException`` is retried; ``FatalException`` and every other
    exception fail the task at once, since a programming error gives the same result each time. Leaving the process (``sys.exit``, a
    signal, a crash) counts as a failed run. What a service prints goes to the standard error stream of the bridge.
    """

    def create(self) -> None:  # noqa: B027 (a service overrides what it needs)
        """Get ready; called once, before anything else. An exception makes the process unusable, and another one is tried."""

    def session_enter(self, session: SessionContext) -> None:  # noqa: B027 (a service overrides what it needs)
        """Bind to a session; called before its first task here, and again after tasks of another session ran in between.

        An exception is tried again up to the session type's ``session_retry_limit`` (not when it is a ``FatalException``); then the session's tasks fail.
        """

    def session_update(self, session: SessionContext) -> None:
        """Take over replaced common data while bound; by default the same as leaving and entering again.

        An exception counts as one of ``session_enter``.
        """
        self.session_leave()
        self.session_enter(session)

    @abstractmethod
    def invoke(self, task: TaskContext) -> bytes:
        """Run one task and return its output.

        Raises:
            FailureException: The task failed and may be tried again.
            FatalException: The task can never succeed.
        """

    def session_leave(self) -> None:  # noqa: B027 (a service overrides what it needs)
        """Let go of the session; called when another session is entered, when the session ends, and before ``destroy``. Exceptions are ignored."""

    def destroy(self) -> None:  # noqa: B027 (a service overrides what it needs)
        """Clean up; called once when the process is told to stop. Not called when it is killed."""
