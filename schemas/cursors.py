"""Where a client stands in a session's outputs, as a sealed text.

A cursor names the journal record that gave the last output the client was handed, so a reader that attaches there needs no other state:
everything before that record is proven by its message id. Two gateways issue the same cursor for the same place.
"""

from __future__ import annotations

import msgspec

from schemas.ids import Position
from schemas.sealing import KeyRing, SealError, open_sealed, seal
from schemas.versions import FORMAT, UnknownVersionError, check_version

__all__ = ["START", "Cursor", "open_cursor", "seal_cursor"]


class Cursor(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """``next`` is the sequence number of the first output not yet handed out; all before it are acknowledged by passing the cursor back."""

    version: int = FORMAT
    num: int = 0
    """The epoch of the record at ``at``; 0: no output was handed out yet."""
    nonce: bytes = b""
    """That epoch's 8 byte nonce."""
    next: int = 1
    at: Position | None = None
    """The outputs record that holds output ``next - 1``; the cursor may stand in its middle."""


START = Cursor()
"""The cursor of a client that has seen nothing."""

_decoder = msgspec.msgpack.Decoder(Cursor)


def seal_cursor(ring: KeyRing, sid: bytes, cursor: Cursor) -> str:
    """Return the cursor that clients see, bound to the session."""
    return seal(ring, "cursor", msgspec.msgpack.encode(cursor), context=sid)


def open_cursor(ring: KeyRing, sid: bytes, text: str) -> Cursor:
    """Read a cursor of this session.

    Raises:
        SealError: Forged, altered, of another session, or of a format that this code cannot read.
    """
    try:
        cursor = _decoder.decode(open_sealed(ring, "cursor", text, context=sid))
        check_version(cursor.version)
    except (msgspec.DecodeError, UnknownVersionError) as exc:
        raise SealError(str(exc)) from exc
    return cursor
