"""Connection and session ids that any gateway can read and none has to store, and task ids that a retry makes again.

A connection or session id is a sealed record: grid, lane, application, principal and a nonce. A task id is
``key hash (16 bytes) + body fingerprint (4) + index (4)``, made at the gateway, so the same ``Idempotency-Key`` and body give the same
ids at every gateway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, TypeVar

import msgspec

from schemas.sealing import KeyRing, SealError, open_sealed, seal
from schemas.versions import FORMAT, UnknownVersionError, check_version

__all__ = [
    "FINGERPRINT_BYTES",
    "KEY_HASH_BYTES",
    "NONCE_BYTES",
    "TASK_ID_BYTES",
    "ConnectionId",
    "Position",
    "SessionId",
    "fingerprint",
    "key_hash",
    "open_connection_id",
    "open_session_id",
    "seal_connection_id",
    "seal_session_id",
    "split_task_id",
    "task_id",
    "task_id_from_text",
    "task_id_text",
]

NONCE_BYTES: Final = 16
KEY_HASH_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 4
TASK_ID_BYTES: Final = 24


class Position(msgspec.Struct, frozen=True, array_like=True):
    """A place in a journal that proves itself: it counts only if the record at ``offset`` still has this message id."""

    offset: int
    message_id: str


class ConnectionId(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a connection id carries. ``nonce`` is 16 bytes, made from the principal and the ``Idempotency-Key``."""

    version: int = FORMAT
    nonce: bytes
    grid: str
    cluster: str
    """Empty: any cluster of the grid may be picked when a session is created."""
    application: str
    principal: str
    username: str = ""
    issued: int
    """Seconds since the epoch, UTC."""


class SessionId(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a session id carries."""

    version: int = FORMAT
    sid: bytes
    """The session's 16 byte nonce: every record and message of the session names it."""
    cluster: str
    lane: int
    grid: str
    application: str
    principal: str
    connection: bytes
    """The nonce of the connection that the session belongs to."""
    born: Position | None
    """The journal's last record before the session was made: its first readers start behind it. None: the journal was empty."""


_T = TypeVar("_T", ConnectionId, SessionId)
_connection = msgspec.msgpack.Decoder(ConnectionId)
_session = msgspec.msgpack.Decoder(SessionId)


def seal_connection_id(ring: KeyRing, value: ConnectionId) -> str:
    """Return the connection id that clients see."""
    return seal(ring, "connection", msgspec.msgpack.encode(value))


def open_connection_id(ring: KeyRing, text: str) -> ConnectionId:
    """Read a connection id.

    Raises:
        SealError: Not one of ours.
    """
    return _checked(_connection, open_sealed(ring, "connection", text))


def seal_session_id(ring: KeyRing, value: SessionId) -> str:
    """Return the session id that clients see."""
    return seal(ring, "session", msgspec.msgpack.encode(value))


def open_session_id(ring: KeyRing, text: str) -> SessionId:
    """Read a session id.

    Raises:
        SealError: Not one of ours.
    """
    return _checked(_session, open_sealed(ring, "session", text))


def _checked(decoder: msgspec.msgpack.Decoder[_T], raw: bytes) -> _T:
    try:
        value = decoder.decode(raw)
        check_version(value.version)
    except (msgspec.DecodeError, UnknownVersionError) as exc:
        raise SealError(str(exc)) from exc
    return value


def key_hash(scope: bytes, key: str) -> bytes:
    """Return the 16 byte hash of an ``Idempotency-Key`` within ``scope`` (a session's or principal's own bytes)."""
    return hashlib.sha256(len(scope).to_bytes(4) + scope + key.encode()).digest()[:KEY_HASH_BYTES]


def fingerprint(*parts: bytes) -> bytes:
    """Return the 4 byte fingerprint of a request body and of what else makes it that request."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()[:FINGERPRINT_BYTES]


def task_id(key: bytes, fp: bytes, index: int) -> bytes:
    """Return the 24 byte id of one task of a submission."""
    return key + fp + index.to_bytes(4)


def split_task_id(value: bytes) -> tuple[bytes, bytes, int]:
    """Return key hash, fingerprint and index of a task id."""
    return value[:KEY_HASH_BYTES], value[KEY_HASH_BYTES:-4], int.from_bytes(value[-4:])


def task_id_text(value: bytes) -> str:
    """Return the 32 characters that clients see."""
    return base64.urlsafe_b64encode(value).decode()


def task_id_from_text(text: str) -> bytes:
    """Read a task id.

    Raises:
        ValueError: Not 32 characters of URL-safe base64.
    """
    if len(text) != TASK_ID_BYTES * 4 // 3 or not text.isascii():
        raise ValueError("a task id has 32 characters of URL-safe base64")
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise ValueError("a task id has 32 characters of URL-safe base64") from exc
