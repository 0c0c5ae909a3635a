"""The seam between a session's owner and a kind of grid: few verbs, plain values.

A connector knows one kind of grid. It opens grid sessions; a grid session takes task inputs in bundles and gives outcomes back in
bundles, in the order in which they come. Nothing here knows of lanes, journals or HTTP. Optional powers are separate small classes
(a connector either has them or has not): an owner asks with ``isinstance``.

The words are Symphony's (``SessionCreationAttributes``, ``TaskSubmissionAttributes``, ``TaskOutputHandle``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import ClassVar, Self

import msgspec

from schemas.symphony import SessionCreationAttributes, SymphonyException

__all__ = [
    "Cancellable",
    "Connector",
    "ConnectorError",
    "GridSession",
    "GridTask",
    "Outcome",
    "Prioritised",
    "SessionOpening",
    "SessionRefusedError",
    "Suspendable",
    "Updatable",
]


class ConnectorError(Exception):
    """The grid cannot be used at the moment; the owner tries again later."""


class SessionRefusedError(Exception):
    """The grid refused to open a session; it will refuse again, so the client is told.

    Args:
        code: A problem code of ``schemas.problems``, such as ``unknown-session-type``.
        message: What the client reads.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class SessionOpening(msgspec.Struct, frozen=True, kw_only=True):
    """What a connector needs to open a session on its grid."""

    sid: bytes
    """The session's 16 byte nonce; connectors put it into the grid session's name so that a successor can find it again."""
    grid: str
    application: str
    principal: str
    attributes: SessionCreationAttributes
    common_data: bytes | None = None


class GridTask(msgspec.Struct, frozen=True):
    """One task input on its way to the grid."""

    task_id: bytes
    """24 bytes, unique in the session."""
    payload: bytes
    tag: str = ""
    priority: int | None = None
    """1 to 10000, higher first within its session; None: in turn."""
    timeout: float | None = None
    """Seconds one run may take (SYMREST's ``timeoutInSec``); None: the service's ``invokeTimeout``."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one task: an output, or the exception that Symphony would show."""

    task_id: bytes
    payload: bytes | None
    """The output when the task succeeded, else None."""
    exception: SymphonyException | None = None
    finished_at: float = 0.0
    """Seconds since the epoch, UTC."""


class GridSession(ABC):
    """One open session on a grid. Every accepted task gives exactly one outcome, unless the session is closed with DESTROY."""

    @property
    @abstractmethod
    def native_id(self) -> str:
        """The grid's own name for this session, for operators who look at the grid's console."""

    @abstractmethod
    async def submit(self, tasks: Sequence[GridTask]) -> None:
        """Hand a bundle to the grid; return when it was taken over.

        Waits while the grid has no room (this is how a grid pushes back) and may be cancelled while it waits; a cancelled call has handed over
        either all of the bundle or nothing.

        Raises:
            ConnectorError: The grid is away; nothing of the bundle was taken.
        """

    @abstractmethod
    def outcomes(self) -> AsyncIterator[Sequence[Outcome]]:
        """Yield outcomes in bundles as they come, until the session is closed. Called once.

        Raises:
            ConnectorError: The grid was lost. Tasks without an outcome have to be submitted again to a new grid session.
        """

    @abstractmethod
    async def close(self, *, destroy: bool) -> None:
        """End the grid session. ``destroy`` drops what is unfinished, else the grid may go on with it. Idempotent."""


class Connector(ABC):
    """A kind of grid. An asynchronous context manager: entering connects, leaving lets go of everything."""

    kind: ClassVar[str]
    """The name that configuration uses, such as ``local``."""

    @abstractmethod
    async def open_session(self, opening: SessionOpening) -> GridSession:
        """Open a session, or attach to the one that an earlier owner opened for the same ``sid`` where the grid keeps such sessions.

        Raises:
            SessionRefusedError: The grid will not have it (unknown application or session type, refused log-on, attributes that contradict).
            ConnectorError: The grid is away; try again later.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of the grid. Sessions still open are detached. Idempotent."""

    @property
    @abstractmethod
    def applications(self) -> Sequence[str]:
        """The applications that a client may name, for listings."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many tasks the grid runs at once, as far as known: the owner's window is a multiple of it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


class Cancellable(ABC):
    """A grid session that can take tasks back."""

    @abstractmethod
    async def cancel(self, task_ids: Sequence[bytes]) -> None:
        """Drop these tasks, running or not. Each that had no outcome yet gets one with the exception type ``Cancelled``. Unknown ids are ignored."""


class Suspendable(ABC):
    """A grid session that can be held."""

    @abstractmethod
    async def suspend(self) -> None:
        """Start no further task; running ones get the session type's grace period and are then queued again. Idempotent."""

    @abstractmethod
    async def resume(self) -> None:
        """Go on. Idempotent."""


class Updatable(ABC):
    """A grid session whose common data can be replaced while it is open (Symphony's session update)."""

    @abstractmethod
    async def update(self, common_data: bytes) -> None:
        """Make tasks that start from now on see ``common_data``.

        Raises:
            SessionRefusedError: The service refused the update.
        """


class Prioritised(ABC):
    """A grid session whose weight among the sessions of its application can be changed."""

    @abstractmethod
    async def prioritise(self, priority: int) -> None:
        """Set the priority, 1 to 10000."""
