"""Messages that gateways send towards bridges: inputs, claims, free-lane tokens.

An input message names its submissions in its headers, so that even a body that cannot be decoded still ends in failed outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from schemas.ids import FINGERPRINT_BYTES, KEY_HASH_BYTES, Position
from schemas.records import RecordError, body_digest
from schemas.symphony import SessionCreationAttributes
from schemas.versions import FORMAT, UnknownVersionError, check_version

__all__ = [
    "Claim",
    "InputHeaders",
    "InputKind",
    "LaneToken",
    "SubmissionRange",
    "TaskInput",
    "decode_claim",
    "decode_inputs",
    "decode_token",
    "encode_claim",
    "encode_inputs",
    "encode_token",
]

_MAX_RANGES: Final = 10_000


class InputKind(StrEnum):
    """What a message on a lane's input side brings."""

    INPUTS = "inputs"
    COMMON = "common"
    """New common data, which is the message's body as it is; its single range has count 1 and takes no sequence number."""
    FENCE = "fence"
    """Put there by the owner: a cancel by tag reaches up to here. Its single range's key is the fence's id."""


class SubmissionRange(msgspec.Struct, frozen=True, array_like=True):
    """A run of tasks of one submission: tasks ``first`` to ``first + count - 1`` of ``of``."""

    key: bytes
    fp: bytes
    of: int
    first: int
    count: int


class TaskInput(msgspec.Struct, frozen=True, array_like=True):
    """One task input, in the order of the ranges."""

    payload: bytes
    tag: str = ""
    priority: int | None = None
    timeout: float | None = None


class InputHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the AMQP headers of a message on a lane's input side."""

    sid: bytes
    kind: InputKind
    ranges: Sequence[SubmissionRange]
    digest: bytes

    @property
    def count(self) -> int:
        """How many tasks the message brings."""
        return sum(run.count for run in self.ranges)

    def to_table(self) -> dict[str, int | str]:
        """Return the AMQP header table; a range is ``key:fp:of:first:count``."""
        ranges = " ".join(f"{r.key.hex()}:{r.fp.hex()}:{r.of}:{r.first}:{r.count}" for r in self.ranges)
        return {"v": FORMAT, "sid": self.sid.hex(), "kind": self.kind.value, "ranges": ranges, "digest": self.digest.hex()}

    @classmethod
    def from_table(cls, table: Mapping[str, object]) -> InputHeaders:
        """Read an AMQP header table.

        Raises:
            RecordError: A header is missing or malformed.
            UnknownVersionError: Written in a format this code cannot read.
        """
        check_version(table.get("v"))
        try:
            return cls(
                sid=bytes.fromhex(str(table["sid"])),
                kind=InputKind(str(table["kind"])),
                ranges=tuple(_range(text) for text in str(table["ranges"]).split(" ", _MAX_RANGES)),
                digest=bytes.fromhex(str(table["digest"])),
            )
        except (KeyError, ValueError) as exc:
            raise RecordError(f"unreadable input headers: {exc!r:.200}") from exc


def _range(text: str) -> SubmissionRange:
    key, fp, of, first, count = text.split(":")
    run = SubmissionRange(bytes.fromhex(key), bytes.fromhex(fp), int(of), int(first), int(count))
    if len(run.key) != KEY_HASH_BYTES or len(run.fp) != FINGERPRINT_BYTES or run.first < 0 or run.count < 1 or run.first + run.count > run.of:
        raise ValueError(f"impossible range {text:.100}")
    return run


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One open session. The worker that holds this message unacknowledged owns it; the AMQP message id is the claim's id."""

    version: int = FORMAT
    sid: bytes
    cluster: str
    lane: int
    grid: str
    application: str
    principal: str
    username: str = ""
    connection: bytes
    attributes: SessionCreationAttributes
    common_data_key: bytes = b""
    """Key and fingerprint of the common data message that already lies in the lane; empty: none."""
    born: Position | None
    created_at: float
    """Seconds since the epoch, UTC."""


class LaneToken(msgspec.Struct, frozen=True, kw_only=True):
    """One free lane."""

    version: int = FORMAT
    lane: int


_encoder = msgspec.msgpack.Encoder()
_inputs = msgspec.msgpack.Decoder(list[TaskInput])
_claim = msgspec.msgpack.Decoder(Claim)
_token = msgspec.msgpack.Decoder(LaneToken)


def encode_inputs(inputs: Sequence[TaskInput]) -> bytes:
    """Return the body of an input message."""
    return _encoder.encode(inputs)


def decode_inputs(headers: InputHeaders, raw: bytes) -> list[TaskInput]:
    """Read the body of an input message.

    Raises:
        RecordError: Damaged, malformed, or not as many tasks as the headers say.
    """
    if body_digest(raw) != headers.digest:
        raise RecordError("the bundle is damaged: its digest differs")
    try:
        inputs = _inputs.decode(raw)
    except msgspec.DecodeError as exc:
        raise RecordError(f"the bundle cannot be decoded: {exc}") from exc
    if len(inputs) != headers.count:
        raise RecordError(f"the bundle has {len(inputs)} tasks, its headers say {headers.count}")
    return inputs


def encode_claim(claim: Claim) -> bytes:
    """Return a claim's body."""
    return _encoder.encode(claim)


def decode_claim(raw: bytes) -> Claim:
    """Read a claim.

    Raises:
        RecordError: Malformed, or of a format this code cannot read.
    """
    try:
        claim = _claim.decode(raw)
        check_version(claim.version)
    except (msgspec.DecodeError, UnknownVersionError) as exc:
        raise RecordError(f"unreadable claim: {exc}") from exc
    return claim


def encode_token(lane: int) -> bytes:
    """Return the body of a free lane's token."""
    return _encoder.encode(LaneToken(lane=lane))


def decode_token(raw: bytes) -> LaneToken:
    """Read a token.

    Raises:
        RecordError: Malformed, or of a format this code cannot read.
    """
    try:
        token = _token.decode(raw)
        check_version(token.version)
    except (msgspec.DecodeError, UnknownVersionError) as exc:
        raise RecordError(f"unreadable token: {exc}") from exc
    return token
