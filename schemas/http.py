"""Bodies of the HTTP interface, v1: one definition gives JSON, MessagePack, JSON Schema and so OpenAPI.

Names on the wire are camelCase and Symphony's own where it has one. In JSON, payloads are base64 (RFC 4648); in MessagePack they are binary.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from schemas.symphony import SessionCreationAttributes, SymphonyException

__all__ = [
    "API_VERSION",
    "COUNT_DEFAULT",
    "COUNT_MAX",
    "CancelAnswer",
    "CancelRequest",
    "CloseRequest",
    "CommonDataRequest",
    "ConnectAnswer",
    "ConnectRequest",
    "CreateSessionRequest",
    "FetchAnswer",
    "GridDescription",
    "GridList",
    "ItemError",
    "OpenSessionRequest",
    "PriorityRequest",
    "SessionAnswer",
    "SessionCreationAttributes",
    "SessionDescription",
    "SessionList",
    "SubmitAnswer",
    "SubmitRequest",
    "SubmittedTask",
    "TaskCounts",
    "TaskOutputItem",
    "TaskSubmission",
]

API_VERSION: Final = "1"
COUNT_DEFAULT: Final = 100
COUNT_MAX: Final = 10_000


class _Request(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """What clients send: unknown members are refused."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What gateways send: readers ignore members they do not know."""


class ConnectRequest(_Request, frozen=True, kw_only=True):
    """Parameters of ``connect``: a grid, a cluster URL (only looked up, never dialled), or neither (the caller's default)."""

    grid: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    cluster_url: Annotated[str, Meta(max_length=1024)] | UnsetType = msgspec.field(default=UNSET, name="clusterURL")
    application_name: Annotated[str, Meta(min_length=1, max_length=256)]
    username: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    password: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET


class ConnectAnswer(_Answer, frozen=True, kw_only=True):
    """A connection."""

    connection_id: str
    grid: str
    application_name: str


class TaskCounts(_Answer, frozen=True, kw_only=True):
    """How many tasks of a session are in which state."""

    received: int = 0
    pending: int = 0
    running: int = 0
    done: int = 0
    error: int = 0
    canceled: int = 0


class SessionAnswer(_Answer, frozen=True, kw_only=True):
    """A session that was created or opened."""

    session_id: str
    state: str
    grid: str
    cluster: str
    native_id: str = ""
    cursor: str
    """Where to begin fetching."""


class SessionDescription(_Answer, frozen=True, kw_only=True):
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
    """Outputs the client has acknowledged."""
    last_sequence: int = 0
    """The sequence number of the newest output."""


class SessionList(_Answer, frozen=True, kw_only=True):
    """The caller's sessions."""

    sessions: list[SessionDescription]
    complete: bool = True
    """False when a worker did not answer in time: its sessions are missing here."""


class CreateSessionRequest(SessionCreationAttributes, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``SessionCreationAttributes`` and what travels beside them."""

    common_data: Annotated[bytes, Meta(description="The session's common data; every service instance gets it before its first task.")] | UnsetType = UNSET


class CommonDataRequest(_Request, frozen=True, kw_only=True):
    """New common data for an open session."""

    common_data: bytes


class OpenSessionRequest(_Request, frozen=True, kw_only=True):
    """Parameters of ``openSession``."""

    session_id: Annotated[str, Meta(max_length=4096)]


class TaskSubmission(_Request, frozen=True, kw_only=True):
    """``TaskSubmissionAttributes`` of one task."""

    task_input: bytes
    tag: str = ""
    task_priority: int | UnsetType = UNSET
    timeout_in_sec: float | UnsetType = UNSET


class SubmitRequest(_Request, frozen=True, kw_only=True):
    """One or many task inputs."""

    tasks: Annotated[list[TaskSubmission], Meta(min_length=1, max_length=COUNT_MAX)]


class ItemError(_Answer, frozen=True, kw_only=True):
    """Why one item of a bulk request was refused."""

    code: str
    detail: str


class SubmittedTask(_Answer, frozen=True, kw_only=True):
    """One item of the answer, in the order of the request: an id, or why it was refused."""

    task_id: str = ""
    error: ItemError | None = None


class SubmitAnswer(_Answer, frozen=True, kw_only=True):
    """The inputs with ids are stored durably; each will have exactly one output."""

    tasks: list[SubmittedTask]


class TaskOutputItem(_Answer, frozen=True, kw_only=True):
    """``TaskOutputHandle``: an output, or the exception of an unsuccessful task."""

    task_id: str
    sequence: int
    successful: bool
    tag: str = ""
    output: bytes | UnsetType = UNSET
    exception: SymphonyException | UnsetType = UNSET
    finished_at: float = 0.0
    """Seconds since the epoch, UTC."""


class FetchAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Available outputs after a cursor. Passing ``cursor`` back acknowledges them."""

    outputs: list[TaskOutputItem]
    cursor: str
    more: bool
    """More outputs are there already."""
    ended: bool
    """The session is closed and all its outputs were handed out."""
    rewound: bool = False
    """Outputs were lost with a broker and made again: drop task ids that you have."""


class CloseRequest(_Request, frozen=True, kw_only=True):
    """Parameters of ``close`` in its POST form."""

    close_flags: int | str | list[str] | UnsetType = UNSET


class PriorityRequest(_Request, frozen=True, kw_only=True):
    """A new priority for a session."""

    priority: int


class CancelRequest(_Request, frozen=True, kw_only=True):
    """Which tasks to cancel: ids, or all with a tag."""

    task_ids: Annotated[list[str], Meta(max_length=COUNT_MAX)] | UnsetType = UNSET
    tag: str | UnsetType = UNSET


class CancelAnswer(_Answer, frozen=True, kw_only=True):
    """The request was stored; each task not yet finished ends with a cancelled output."""

    requested: int


class GridDescription(_Answer, frozen=True, kw_only=True):
    """A grid that the caller may use."""

    name: str
    state: str
    """``up``, ``draining`` or ``down`` (no worker heard within 5 s)."""
    kind: str = ""
    applications: list[str] = []
    log_on: str = "none"
    clusters: list[str] = []


class GridList(_Answer, frozen=True, kw_only=True):
    """The grids that the caller may use."""

    grids: list[GridDescription]
