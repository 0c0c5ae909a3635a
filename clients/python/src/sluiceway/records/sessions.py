"""Sessions: their attributes, states and counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from sluiceway.fields import Fields

__all__ = [
    "CloseRequest",
    "CommonDataRequest",
    "CreateSessionRequest",
    "OpenSessionRequest",
    "PriorityRequest",
    "SessionAnswer",
    "SessionCreationAttributes",
    "SessionDescription",
    "SessionList",
    "TaskCounts",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionCreationAttributes:
    """Symphony's ``SessionCreationAttributes``; what is None is left out, and the application profile's default applies."""

    name: str | None = None
    type: str | None = None
    flags: int | str | tuple[str, ...] | None = None
    tag: str | None = None
    priority: int | None = None
    compression_enable: bool | None = None
    threshold: int | None = None
    data_compression_flag: str | None = None
    direct_data_transfer_enable: bool | None = None
    service_name: str | None = None
    preemptive: bool | None = None
    preemption_rank: int | None = None
    reclaim_rank: int | None = None
    resource_group_filter: str | None = None
    resource_preference: str | None = None
    service_to_slot_ratio: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateSessionRequest(SessionCreationAttributes):
    """Symphony's attributes and what travels beside them."""

    common_data: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CommonDataRequest:
    """New common data for an open session."""

    common_data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenSessionRequest:
    """Parameters of ``openSession``."""

    session_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionAnswer:
    """A session that was created or opened."""

    session_id: str
    state: str
    grid: str
    cluster: str
    native_id: str = ""
    cursor: str

    @classmethod
    def read(cls, value: object) -> SessionAnswer:
        """Read the answer to ``createSession`` or ``openSession``."""
        fields = Fields(value, "session")
        return cls(
            session_id=fields.text("sessionId"),
            state=fields.text("state"),
            grid=fields.text("grid"),
            cluster=fields.text("cluster"),
            native_id=fields.text("nativeId", ""),
            cursor=fields.text("cursor"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskCounts:
    """How many tasks of a session are in which state."""

    received: int = 0
    pending: int = 0
    running: int = 0
    done: int = 0
    error: int = 0
    canceled: int = 0

    @classmethod
    def read(cls, value: object) -> TaskCounts:
        """Read the counts."""
        fields = Fields(value, "tasks")
        return cls(**{one.name: fields.whole(one.name, 0) for one in dataclasses.fields(cls)})


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionDescription:
    """A session as its owner sees it."""

    session_id: str
    state: str
    grid: str
    cluster: str
    application_name: str
    name: str = ""
    tag: str = ""
    priority: int | None = None
    owner: str = ""
    native_id: str = ""
    created_at: float = 0.0
    """Seconds since the epoch, UTC."""
    tasks: TaskCounts = TaskCounts()
    acknowledged: int = 0
    """Outputs that the client has acknowledged."""
    last_sequence: int = 0
    """The sequence number of the newest output."""

    @classmethod
    def read(cls, value: object) -> SessionDescription:
        """Read a session's description."""
        fields = Fields(value, "session")
        tasks = fields.part("tasks")
        return cls(
            session_id=fields.text("sessionId"),
            state=fields.text("state"),
            grid=fields.text("grid"),
            cluster=fields.text("cluster"),
            application_name=fields.text("applicationName"),
            name=fields.text("name", ""),
            tag=fields.text("tag", ""),
            priority=None if fields.part("priority") is None else fields.whole("priority"),
            owner=fields.text("owner", ""),
            native_id=fields.text("nativeId", ""),
            created_at=fields.number("createdAt", 0.0),
            tasks=TaskCounts() if tasks is None else TaskCounts.read(tasks),
            acknowledged=fields.whole("acknowledged", 0),
            last_sequence=fields.whole("lastSequence", 0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionList:
    """The caller's sessions."""

    sessions: tuple[SessionDescription, ...]
    complete: bool = True
    """False when a worker did not answer in time: its sessions are missing here."""

    @classmethod
    def read(cls, value: object) -> SessionList:
        """Read the answer to ``listSessions``."""
        fields = Fields(value, "sessions")
        return cls(sessions=tuple(SessionDescription.read(one) for one in fields.parts("sessions")), complete=fields.truth("complete", default=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseRequest:
    """Parameters of ``close``."""

    close_flags: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorityRequest:
    """A new priority for a session, 1 to 10000, 10000 first."""

    priority: int
