"""Application profiles of the local grid: services, session types and their defaults, as configuration gives them."""

from __future__ import annotations

import os
import re
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta

from bridge.connectors.base import SessionOpening, SessionRefusedError
from schemas.symphony import PRIORITY_MAX, PRIORITY_MIN

__all__ = ["ApplicationProfile", "LocalSettings", "SessionPlan", "SessionType", "plan_session"]

_ENTRY_POINT: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")

_Seconds = Annotated[float, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=0)]
_Some = Annotated[int, Meta(ge=1)]


class SessionType(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Defaults for sessions of one type (Symphony's ``SessionTypes/Type``); the values are those of Symphony's own sample profiles."""

    name: str
    priority: Annotated[int, Meta(ge=PRIORITY_MIN, le=PRIORITY_MAX)] = 1
    """Weight among the sessions of the application; a client's own priority goes before it."""
    task_retry_limit: _Count = 1
    """How often a task is run again after a failed run."""
    abort_session_if_task_fail: bool = False
    """Whether one failed task ends all others of its session as failed, with the code ``session-aborted``."""
    session_retry_limit: _Count = 3
    """How often ``session_enter`` or ``session_update`` is tried again before the session's tasks fail."""
    suspend_grace_period: Annotated[float, Meta(ge=0)] = 100.0
    """Seconds that running tasks may go on after a suspension before they are stopped and queued again."""
    abort_session_if_client_disconnect: bool = True
    """For the session's owner: the local grid does not see clients."""
    retention: Annotated[float, Meta(ge=0)] | None = None
    """Seconds for which outputs are kept, for the session's owner; None: the owner's own rule."""


class ApplicationProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One application: a service and the session types that clients may ask for."""

    name: str
    service: str
    """Entry point, ``module:Class``; looked up in the worker processes only."""
    invoke_timeout: _Seconds | None = None
    """Seconds that one run of a task may take unless the task says otherwise; None: no limit, as in Symphony."""
    session_enter_timeout: _Seconds = 300.0
    """Seconds that ``session_enter``, ``session_update`` and ``session_leave`` may take together."""
    processes: _Some | None = None
    """Worker processes of this application; None: as many as the grid's ``processes``."""
    python_path: tuple[str, ...] = ()
    """Folders that the worker processes search for the service before all others."""
    session_types: tuple[SessionType, ...] = (SessionType(name="default"),)
    default_session_type: str | None = None
    """The type for sessions that name none; None: the first."""

    def __post_init__(self) -> None:
        """Refuse what a schema cannot say."""
        if not _ENTRY_POINT.match(self.service):
            raise ValueError(f"application {self.name!r}: service must read 'module:Class', not {self.service!r}")
        names = [one.name for one in self.session_types]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"application {self.name!r}: needs session types with different names")
        if self.default_session_type is not None and self.default_session_type not in names:
            raise ValueError(f"application {self.name!r}: default_session_type {self.default_session_type!r} is none of {', '.join(names)}")


class LocalSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="local"):
    """The ``[connector]`` section of a bridge for ``kind = "local"``."""

    applications: tuple[ApplicationProfile, ...]
    processes: _Some = msgspec.field(default_factory=lambda: os.cpu_count() or 1)
    """Worker processes for each application, started with its first session."""
    waiting_tasks: _Some = 10_000
    """Tasks of one session that may wait here before ``submit`` waits."""
    waiting_bytes: _Some = 64 * 1024 * 1024
    """Bytes of task inputs of one session that may wait here before ``submit`` waits."""
    outcome_bytes: _Some = 64 * 1024 * 1024
    """Bytes of a session's outcomes that nobody has taken yet before none of its tasks is started any more."""
    output_bytes: _Some = 8 * 1024 * 1024
    """The largest output of one task; a larger one fails the task."""
    parallel_starts: _Some = 2
    """Worker processes that may be starting at the same time, over all applications."""
    start_timeout: _Seconds = 60.0
    """Seconds that a worker process may take to import its service and create it."""
    start_attempts: _Some = 3
    """Failed starts in a row, with no worker process left, after which waiting tasks fail with ``service-unavailable``."""
    cancel_grace: Annotated[float, Meta(ge=0)] = 0.2
    """Seconds that a cancelled task may go on before its worker process is ended; others in that process are run again."""
    stop_grace: Annotated[float, Meta(ge=0)] = 2.0
    """Seconds that idle worker processes get for ``destroy`` when the grid is let go of."""

    def __post_init__(self) -> None:
        """Refuse two applications of one name."""
        names = [one.name for one in self.applications]
        if len(set(names)) != len(names):
            raise ValueError("two applications have the same name")


class SessionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a session gets: its profile's defaults with the client's attributes laid over them."""

    application: ApplicationProfile
    session_type: SessionType
    priority: int


def plan_session(settings: LocalSettings, opening: SessionOpening) -> SessionPlan:
    """Lay the client's attributes over the application profile; what is unset takes the session type's default.

    Raises:
        SessionRefusedError: With the code ``unknown-application`` or ``unknown-session-type``.
    """
    application = next((one for one in settings.applications if one.name == opening.application), None)
    if application is None:
        raise SessionRefusedError("unknown-application", f"this grid has no application {opening.application[:256]!r}")
    asked = opening.attributes.type
    wanted = (application.default_session_type or application.session_types[0].name) if asked is UNSET or not asked else asked
    session_type = next((one for one in application.session_types if one.name == wanted), None)
    if session_type is None:
        known = ", ".join(one.name for one in application.session_types)
        raise SessionRefusedError("unknown-session-type", f"application {application.name!r} has no session type {wanted[:256]!r}; it has {known}")
    priority = opening.attributes.priority
    return SessionPlan(application=application, session_type=session_type, priority=session_type.priority if priority is UNSET else priority)
