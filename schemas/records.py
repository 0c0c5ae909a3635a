"""Records of a session's journal: what an owner appends to a lane's output side and every reader folds.

One AMQP message is one record. Its headers say which session, epoch and publication it is, so that a fold can judge it without reading
the body; the body is MessagePack by kind. The meaning of each kind is in ``broker/journal/fold.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from schemas.ids import Position
from schemas.symphony import SymphonyException
from schemas.versions import FORMAT, check_version

__all__ = [
    "EPOCH_NONCE_BYTES",
    "CancelledTag",
    "Closed",
    "CommonData",
    "EpochBase",
    "FinishedSubmission",
    "Mark",
    "Opened",
    "Outputs",
    "RecordBody",
    "RecordError",
    "RecordHeaders",
    "RecordKind",
    "Refused",
    "SessionControls",
    "Snapshot",
    "StateChange",
    "TaskOutput",
    "body_digest",
    "check_body",
    "decode_body",
    "encode_body",
]

EPOCH_NONCE_BYTES: Final = 8


class RecordError(ValueError):
    """Raised when a journal record or broker message cannot be read."""


class RecordKind(StrEnum):
    """The kinds of journal records."""

    MARK = "mark"
    SNAP = "snap"
    OUTS = "outs"
    OPENED = "opened"
    REFUSED = "refused"
    STATE = "state"
    COMMON = "common"
    CLOSED = "closed"


class RecordHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a record's AMQP headers; its message id is ``<epoch nonce in hex>:<pub>``, unique per publication."""

    sid: bytes
    num: int
    """The epoch's number, 1 and up; 0 only for ``refused(lane-busy)``, which needs no epoch."""
    nonce: bytes
    pub: int
    """1, 2, 3 and so on within the epoch's nonce: an owner's publications come back consecutively or it is in doubt."""
    kind: RecordKind
    worker: str
    """The bridge worker that wrote it: live requests for the session go there."""
    digest: bytes
    """The first 16 bytes of the body's SHA-256."""
    scan: Position | None = None
    """The last complete snapshot that was read back, a sound place to start reading."""
    acked: int = 1
    """The client has acknowledged all outputs below: a gateway repeats its acknowledgement until a record shows it."""
    first: int = 0
    """For outputs: the sequence number of the first."""
    count: int = 0

    @property
    def message_id(self) -> str:
        """The id that proves this very publication."""
        return f"{self.nonce.hex()}:{self.pub}"

    def to_table(self) -> dict[str, int | str]:
        """Return the AMQP header table: integers and short texts only, readable in the broker's own tools."""
        table: dict[str, int | str] = {
            "v": FORMAT,
            "sid": self.sid.hex(),
            "num": self.num,
            "nonce": self.nonce.hex(),
            "pub": self.pub,
            "kind": self.kind.value,
            "worker": self.worker,
            "digest": self.digest.hex(),
            "acked": self.acked,
        }
        if self.scan is not None:
            table["scan"] = f"{self.scan.offset} {self.scan.message_id}"
        if self.kind is RecordKind.OUTS:
            table["first"], table["count"] = self.first, self.count
        return table

    @classmethod
    def from_table(cls, table: Mapping[str, object]) -> RecordHeaders:
        """Read an AMQP header table.

        Raises:
            RecordError: A header is missing or malformed.
            UnknownVersionError: Written in a format this code cannot read.
        """
        check_version(table.get("v"))
        try:
            scan = str(table["scan"]).split(" ", 1) if "scan" in table else None
            return cls(
                sid=bytes.fromhex(str(table["sid"])),
                num=_whole(table["num"]),
                nonce=bytes.fromhex(str(table["nonce"])),
                pub=_whole(table["pub"]),
                kind=RecordKind(str(table["kind"])),
                worker=str(table["worker"]),
                digest=bytes.fromhex(str(table["digest"])),
                scan=Position(int(scan[0]), scan[1]) if scan else None,
                acked=_whole(table.get("acked", 1)),
                first=_whole(table.get("first", 0)),
                count=_whole(table.get("count", 0)),
            )
        except (KeyError, ValueError, IndexError) as exc:
            raise RecordError(f"unreadable record headers: {exc!r:.200}") from exc


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r:.40} is not a whole number")  # noqa: TRY004 - one error type for all malformed headers
    return value


class EpochBase(msgspec.Struct, frozen=True, array_like=True):
    """One epoch of a session's history; ``base`` is the next sequence number at its mark."""

    num: int
    nonce: bytes
    base: int


class FinishedSubmission(msgspec.Struct, frozen=True, array_like=True):
    """The tasks of one submission whose outputs are visible."""

    key: bytes
    fp: bytes
    of: int
    """How many tasks the submission has."""
    high: int
    """The highest sequence number among its visible outputs."""
    bitmap: bytes | None = None
    """Which tasks are finished, lowest bit first; None: all."""


class CancelledTag(msgspec.Struct, frozen=True, array_like=True):
    """All tasks with ``tag`` that lie in the lane before the fence message with this id are cancelled."""

    tag: str
    fence: bytes


class SessionControls(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What commands have set: it survives takeovers through snapshots."""

    suspended: bool = False
    priority: int | None = None
    cancelled_ids: list[bytes] = []
    """Cancelled before their inputs were delivered."""
    cancelled_tags: list[CancelledTag] = []
    closing: int | None = None
    """Close flags once a close was asked for."""
    opened: bool = False
    """The grid has had the session: a successor attaches and writes no second ``opened``."""
    native_id: str = ""
    failed: int = 0
    """Visible outputs with an exception other than a cancellation; counts in snapshots only."""
    cancelled: int = 0


class Mark(msgspec.Struct, frozen=True, array_like=True, tag=RecordKind.MARK.value):
    """The fence: from here on only this epoch's records count."""

    claim_id: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=RecordKind.SNAP.value):
    """What a successor or a late reader needs. Comes in parts under 1 MiB that count only when all are there in order.

    Part 1 carries the state, every part some of the finished submissions or of the common data.
    """

    part: int
    parts: int
    at: int
    """The next sequence number at the epoch's mark."""
    acked: int
    """All outputs below are acknowledged by the client."""
    upto: int
    """The next sequence number when the snapshot was taken."""
    history: list[EpochBase] = []
    controls: SessionControls = SessionControls()
    done: list[FinishedSubmission] = []
    common_data: bytes | None = None
    """This part's piece of the session's common data; None: there is none."""
    common_key: bytes = b""
    """Key and fingerprint of the message that brought the common data, so that a redelivered one is known."""
    unacked: int = 0
    """Bytes of visible outputs that the client has not acknowledged: they count against the session's quota."""


class TaskOutput(msgspec.Struct, frozen=True, array_like=True):
    """One output: ``payload`` when the task succeeded, else ``exception``."""

    task_id: bytes
    of: int
    """How many tasks its submission has."""
    tag: str
    finished_at: float
    payload: bytes | None
    exception: SymphonyException | None = None


class Outputs(msgspec.Struct, frozen=True, array_like=True, tag=RecordKind.OUTS.value):
    """A bundle of outputs with consecutive numbers from the header's ``first``."""

    outputs: list[TaskOutput]


class Opened(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=RecordKind.OPENED.value):
    """The grid has the session: inputs may be published from now on."""

    native_id: str


class Refused(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=RecordKind.REFUSED.value):
    """The session ended before it began; ``code`` is a problem code."""

    code: str
    message: str


class StateChange(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=RecordKind.STATE.value):
    """A command's effect between snapshots, or a newer acknowledged position."""

    acked: int
    controls: SessionControls


class CommonData(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=RecordKind.COMMON.value):
    """The session's common data was replaced."""

    key: bytes
    data: bytes


class Closed(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=RecordKind.CLOSED.value):
    """The session ended; outputs up to and with ``last`` exist."""

    last: int
    reason: str
    aborted: bool = False


RecordBody: TypeAlias = Mark | Snapshot | Outputs | Opened | Refused | StateChange | CommonData | Closed

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[RecordBody] = msgspec.msgpack.Decoder(RecordBody)


def encode_body(body: RecordBody) -> bytes:
    """Return the body's bytes."""
    return _encoder.encode(body)


def body_digest(raw: bytes | memoryview) -> bytes:
    """Return what the header ``digest`` must say of this body."""
    return hashlib.sha256(raw).digest()[:16]


def check_body(headers: RecordHeaders, raw: bytes) -> None:
    """Raise when a body's bytes are not those that were written.

    Raises:
        RecordError: Its digest differs.
    """
    if body_digest(raw) != headers.digest:
        raise RecordError(f"record {headers.message_id} is damaged: its digest differs")


def decode_body(headers: RecordHeaders, raw: bytes) -> RecordBody:
    """Read a record's body.

    Raises:
        RecordError: The body is not the one that was written (its digest differs) or not of the kind that the headers name.
    """
    check_body(headers, raw)
    try:
        body = _decoder.decode(raw)
    except msgspec.DecodeError as exc:
        raise RecordError(f"record {headers.message_id}: {exc}") from exc
    if type(body).__struct_config__.tag != headers.kind.value:
        raise RecordError(f"record {headers.message_id} is not of kind {headers.kind}")
    return body
