"""Sealed texts: what only our own processes can make and read, as pure functions over a key ring value.

AES-256-GCM (NIST SP 800-38D). The nonce is derived from the plaintext by HMAC-SHA256 under a key of its own, so that sealing the same
value twice gives the same text: a retried request gets the same id, and two gateways issue the same cursor. Equal texts reveal only that
their contents are equal.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.versions import FORMAT, UnknownVersionError, check_version

__all__ = ["KEY_BYTES", "KeyRing", "SealError", "open_sealed", "seal"]

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_MAX_TEXT: Final = 4096
"""Longer texts are refused unread: ours have a few hundred characters."""


class SealError(ValueError):
    """Raised when a text was not sealed by this key ring, or for something else, or was altered."""


class KeyRing(msgspec.Struct, frozen=True, kw_only=True):
    """Keys by name. New texts are sealed with ``current``; every key still opens.

    Args:
        current: The name of the key that seals.
        keys: 32 byte keys by name; names have 1 to 32 ASCII characters.
    """

    current: str
    keys: dict[str, bytes]

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise ValueError(f"the key ring has no key named {self.current!r}")
        for name, key in self.keys.items():
            if not name.isascii() or not 1 <= len(name) <= KEY_BYTES or len(key) != KEY_BYTES:
                raise ValueError(f"key {name!r:.40} needs a name of 1 to 32 ASCII characters and {KEY_BYTES} bytes")


def _subkey(key: bytes, purpose: bytes) -> bytes:
    """One key per purpose, so that the cipher and the nonce derivation never share one (NIST SP 800-108 in counter mode, one block)."""
    return hmac.digest(key, b"\x01" + purpose, hashlib.sha256)


def _associated(version: int, kind: str, name: str, context: bytes) -> bytes:
    """What stands outside the cipher is under the seal too."""
    return b"\x00".join((b"sluiceway", b"%d" % version, kind.encode(), name.encode(), context))


def seal(ring: KeyRing, kind: str, plaintext: bytes, *, context: bytes = b"") -> str:
    """Seal ``plaintext`` as URL-safe text that opens only with the same ``kind`` and ``context``."""
    name = ring.current
    key = ring.keys[name]
    associated = _associated(FORMAT, kind, name, context)
    nonce = hmac.digest(_subkey(key, b"nonce"), associated + b"\x00" + plaintext, hashlib.sha256)[:_NONCE_BYTES]
    cipher = AESGCM(_subkey(key, b"seal")).encrypt(nonce, plaintext, associated)
    raw = bytes((FORMAT, len(name))) + name.encode() + nonce + cipher
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    if len(text) > _MAX_TEXT or not text.isascii():
        raise SealError("not a sealed text")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as exc:
        raise SealError("not a sealed text") from exc
    # Unused low bits of the last character would give one value several spellings.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise SealError("not a sealed text")
    return raw


def open_sealed(ring: KeyRing, kind: str, text: str, *, context: bytes = b"") -> bytes:
    """Return what was sealed.

    Raises:
        SealError: Forged, altered, of another kind or context, or sealed with a key that is no longer in the ring.
    """
    raw = _decode(text)
    try:
        check_version(raw[0] if raw else None)
    except UnknownVersionError as exc:
        raise SealError(str(exc)) from exc
    length = raw[1] if len(raw) > 1 else 0
    body = raw[2 + length :]
    name = raw[2 : 2 + length].decode("ascii", "replace")
    if name not in ring.keys or len(body) < _NONCE_BYTES + _TAG_BYTES:
        raise SealError("sealed with an unknown key")
    try:
        return AESGCM(_subkey(ring.keys[name], b"seal")).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], _associated(raw[0], kind, name, context))
    except InvalidTag as exc:
        raise SealError("forged or altered") from exc
