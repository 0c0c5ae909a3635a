"""The bodies of the HTTP interface as this client sees them: frozen records, None where a member is left out.

Names on the wire are camelCase; members that this version does not know are ignored.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from sluiceway.fields import Fields

__all__ = [
    "CancelAnswer",
    "CancelRequest",
    "CloseRequest",
    "ConnectAnswer",
    "ConnectRequest",
    "EmbeddedException",
    "FetchAnswer",
    "GridDescription",
    "GridList",
    "ItemError",
    "OpenSessionRequest",
    "PriorityRequest",
    "Problem",
    "SessionAnswer",
    "SessionCreationAttributes",
    "SessionDescription",
    "SessionList",
    "SubmitAnswer",
    "SubmitRequest",
    "SubmittedTask",
    "SymphonyException",
    "TaskCounts",
    "TaskOutputItem",
    "TaskSubmission",
    "wire_form",
    "wire_name",
]


def wire_name(kind: type, name: str) -> str:
    """Return what a field of a record is called on the wire: ``applicationName`` for ``application_name``."""
    special: dict[str, str] = getattr(kind, "WIRE_NAMES", {})
    head, *rest = name.split("_")
    return special.get(name) or head + "".join(word.capitalize() for word in rest)


def wire_form(record: object) -> object:
    """Return a request as plain values: unset members left out, nested records likewise."""
    if isinstance(record, list | tuple):
        return [wire_form(one) for one in record]
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return record
    members = ((one.name, getattr(record, one.name)) for one in dataclasses.fields(record))
    return {wire_name(type(record), name): wire_form(value) for name, value in members if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """An RFC 9457 problem details object."""

    type: str = "about:blank"
    title: str = ""
    status: int
    code: str
    detail: str = ""
    instance: str = ""
    request_id: str = ""

    @classmethod
    def read(cls, value: object, *, status: int) -> Problem:
        """Read a problem document; what it lacks is filled from the HTTP status."""
        fields = Fields(value, "problem")
        return cls(
            type=fields.text("type", "about:blank"),
            title=fields.text("title", ""),
            status=fields.whole("status", status),
            code=fields.text("code", f"http-{status}"),
            detail=fields.text("detail", ""),
            instance=fields.text("instance", ""),
            request_id=fields.text("requestId", ""),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedException:
    """The exception that the service itself threw."""

    error_type: str
    error_code: int = 0
    message: str = ""

    @classmethod
    def read(cls, value: object) -> EmbeddedException:
        """Read the embedded exception."""
        fields = Fields(value, "embedded")
        return cls(error_type=fields.text("errorType"), error_code=fields.whole("errorCode", 0), message=fields.text("message", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class SymphonyException:
    """Why a task failed: Symphony's ``SoamException`` and a stable ``code`` such as ``service-exception``."""

    error_type: str
    error_code: int = 0
    code: str
    message: str = ""
    embedded: EmbeddedException | None = None

    @classmethod
    def read(cls, value: object) -> SymphonyException:
        """Read an exception."""
        fields = Fields(value, "exception")
        embedded = fields.part("embedded")
        return cls(
            error_type=fields.text("errorType"),
            error_code=fields.whole("errorCode", 0),
            code=fields.text("code"),
            message=fields.text("message", ""),
            embedded=None if embedded is None else EmbeddedException.read(embedded),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectRequest:
    """Parameters of ``connect``."""

    WIRE_NAMES: ClassVar[dict[str, str]] = {"cluster_url": "clusterURL"}

    grid: str | None = None
    cluster_url: str | None = None
    application_name: str
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectAnswer:
    """A connection."""

    connection_id: str
    grid: str
    application_name: str

    @classmethod
    def read(cls, value: object) -> ConnectAnswer:
        """Read the answer to ``connect``."""
        fields = Fields(value, "connection")
        return cls(connection_id=fields.text("connectionId"), grid=fields.text("grid"), application_name=fields.text("applicationName"))


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
class TaskSubmission:
    """One task input, encoded."""

    task_input: bytes
    tag: str | None = None
    task_priority: int | None = None
    timeout_in_sec: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitRequest:
    """One or many task inputs."""

    tasks: tuple[TaskSubmission, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemError:
    """Why one item of a bulk request was refused."""

    code: str
    detail: str

    @classmethod
    def read(cls, value: object) -> ItemError:
        """Read one item's error."""
        fields = Fields(value, "error")
        return cls(code=fields.text("code"), detail=fields.text("detail"))


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmittedTask:
    """One item of the answer: an id, or why it was refused."""

    task_id: str = ""
    error: ItemError | None = None

    @classmethod
    def read(cls, value: object) -> SubmittedTask:
        """Read one item."""
        fields = Fields(value, "task")
        error = fields.part("error")
        return cls(task_id=fields.text("taskId", ""), error=None if error is None else ItemError.read(error))


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitAnswer:
    """The inputs with ids are stored durably."""

    tasks: tuple[SubmittedTask, ...]

    @classmethod
    def read(cls, value: object) -> SubmitAnswer:
        """Read the answer to ``sendTaskInput``."""
        return cls(tasks=tuple(SubmittedTask.read(one) for one in Fields(value, "submission").parts("tasks")))


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOutputItem:
    """Symphony's ``TaskOutputHandle``: an output, or the exception of an unsuccessful task."""

    task_id: str
    sequence: int
    successful: bool
    tag: str = ""
    output: bytes | None = None
    exception: SymphonyException | None = None
    finished_at: float = 0.0
    """Seconds since the epoch, UTC."""

    @classmethod
    def read(cls, value: object) -> TaskOutputItem:
        """Read one output."""
        fields = Fields(value, "output")
        exception = fields.part("exception")
        return cls(
            task_id=fields.text("taskId"),
            sequence=fields.whole("sequence"),
            successful=fields.truth("successful"),
            tag=fields.text("tag", ""),
            output=fields.binary("output"),
            exception=None if exception is None else SymphonyException.read(exception),
            finished_at=fields.number("finishedAt", 0.0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchAnswer:
    """Outputs after a cursor; passing ``cursor`` back acknowledges them."""

    outputs: tuple[TaskOutputItem, ...]
    cursor: str
    more: bool
    ended: bool
    rewound: bool = False

    @classmethod
    def read(cls, value: object) -> FetchAnswer:
        """Read the answer to ``fetchTaskOutput``."""
        fields = Fields(value, "outputs")
        return cls(
            outputs=tuple(TaskOutputItem.read(one) for one in fields.parts("outputs")),
            cursor=fields.text("cursor"),
            more=fields.truth("more"),
            ended=fields.truth("ended"),
            rewound=fields.truth("rewound", default=False),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseRequest:
    """Parameters of ``close``."""

    close_flags: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorityRequest:
    """A new priority for a session, 1 to 10000, 10000 first."""

    priority: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRequest:
    """Which tasks to cancel: ids, or all with a tag."""

    task_ids: tuple[str, ...] | None = None
    tag: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelAnswer:
    """How many tasks were asked to end."""

    requested: int

    @classmethod
    def read(cls, value: object) -> CancelAnswer:
        """Read the answer to a cancellation."""
        return cls(requested=Fields(value, "cancellation").whole("requested"))


@dataclass(frozen=True, kw_only=True, slots=True)
class GridDescription:
    """A grid that the caller may use; its state is ``up``, ``draining`` or ``down``."""

    name: str
    state: str
    kind: str = ""
    applications: tuple[str, ...] = ()
    log_on: str = "none"
    clusters: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: object) -> GridDescription:
        """Read a grid's description."""
        fields = Fields(value, "grid")
        return cls(
            name=fields.text("name"),
            state=fields.text("state"),
            kind=fields.text("kind", ""),
            applications=fields.texts("applications"),
            log_on=fields.text("logOn", "none"),
            clusters=fields.texts("clusters"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GridList:
    """The grids that the caller may use."""

    grids: tuple[GridDescription, ...]

    @classmethod
    def read(cls, value: object) -> GridList:
        """Read the answer to ``listGrids``."""
        return cls(grids=tuple(GridDescription.read(one) for one in Fields(value, "grids").parts("grids")))
