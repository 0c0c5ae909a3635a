"""Live messages between gateways and workers on the control exchange: acknowledgements, requests and replies, heartbeats.

They may get lost. Acknowledgements are repeated at every poll, requests are repeated by whoever waits for the reply.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import msgspec

from schemas.ids import Position
from schemas.records import RecordError
from schemas.versions import FORMAT, UnknownVersionError, check_version

__all__ = [
    "Acknowledge",
    "Beat",
    "ControlMessage",
    "Doubt",
    "Reply",
    "Request",
    "SessionSummary",
    "Verb",
    "beat_key",
    "cluster_key",
    "decode_control",
    "encode_control",
    "gateway_key",
    "worker_key",
]


class Verb(StrEnum):
    """What may be asked of a session's owner, or (``LIST``, ``CLOSE_CONNECTION``) of all workers of a cluster."""

    STATUS = "status"
    SUSPEND = "suspend"
    RESUME = "resume"
    PRIORITY = "priority"
    CANCEL = "cancel"
    CLOSE = "close"
    LIST = "list"
    CLOSE_CONNECTION = "close-connection"


class Acknowledge(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """A client holds everything before ``next``; sent at every poll that brings a cursor, until a record shows it."""

    version: int = FORMAT
    sid: bytes
    num: int
    nonce: bytes
    next: int
    at: Position | None = None
    """The record that gave the client output ``next - 1``, as its cursor names it."""


class Doubt(msgspec.Struct, frozen=True, kw_only=True, tag="doubt"):
    """A reader is stuck at a gap: the owner should read its journal."""

    version: int = FORMAT
    sid: bytes


class Request(msgspec.Struct, frozen=True, kw_only=True, tag="request"):
    """A request that wants a reply."""

    version: int = FORMAT
    id: str
    reply_to: str
    """The gateway's own routing key on the control exchange."""
    verb: Verb
    sid: bytes = b""
    principal: str = ""
    """For LIST: whose sessions."""
    connection: bytes = b""
    """For CLOSE_CONNECTION: which connection."""
    priority: int = 0
    close_flags: int = 0
    task_ids: list[bytes] = []
    tag: str = ""


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its owner sees it."""

    sid: bytes
    lane: int
    cluster: str
    grid: str
    application: str
    principal: str
    connection: bytes
    born_offset: int | None = None
    born_id: str = ""
    name: str = ""
    tag: str = ""
    state: str
    worker: str = ""
    """The owner."""
    native_id: str = ""
    priority: int | None = None
    created_at: float = 0.0
    received: int = 0
    """Tasks the owner has seen."""
    pending: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    acked: int = 0
    """Outputs that the client has acknowledged."""
    last: int = 0
    """The sequence number of the newest visible output."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag="reply"):
    """The answer to a request. ``code`` is empty when it succeeded, else a problem code."""

    version: int = FORMAT
    id: str
    worker: str
    code: str = ""
    detail: str = ""
    sessions: list[SessionSummary] = []


class Beat(msgspec.Struct, frozen=True, kw_only=True, tag="beat"):
    """A worker is alive: sent every 2 s, and at once when it starts or drains."""

    version: int = FORMAT
    cluster: str
    worker: str
    kind: str
    """The connector's kind."""
    applications: list[str]
    sessions: list[bytes]
    """Nonces of the sessions it owns."""
    capacity: int
    """How many sessions it would own at most."""
    slots: int
    draining: bool = False
    sent_at: float = 0.0


ControlMessage: TypeAlias = Acknowledge | Doubt | Request | Reply | Beat

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[ControlMessage] = msgspec.msgpack.Decoder(ControlMessage)


def encode_control(message: ControlMessage) -> bytes:
    """Return the message's bytes."""
    return _encoder.encode(message)


def decode_control(raw: bytes) -> ControlMessage:
    """Read a control message.

    Raises:
        RecordError: Malformed, or of a format this code cannot read.
    """
    try:
        message = _decoder.decode(raw)
        check_version(message.version)
    except (msgspec.DecodeError, UnknownVersionError) as exc:
        raise RecordError(f"unreadable control message: {exc}") from exc
    return message


def worker_key(cluster: str, worker: str) -> str:
    """Return the routing key of one worker."""
    return f"{cluster}.worker.{worker}"


def cluster_key(cluster: str) -> str:
    """Return the routing key that all workers of a cluster hear."""
    return f"{cluster}.all"


def beat_key(cluster: str) -> str:
    """Return the routing key of a cluster's heartbeats."""
    return f"{cluster}.beat"


def gateway_key(gateway: str) -> str:
    """Return the routing key of one gateway's replies."""
    return f"gateway.{gateway}"
