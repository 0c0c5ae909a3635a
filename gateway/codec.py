"""Reads request bodies and writes answers: JSON and MessagePack, with everything refused that two readers could read differently."""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

import msgspec

from gateway.media import JSON, MSGPACK
from gateway.problems import ProblemError

__all__ = ["DEPTH_MAX", "decode", "encode"]

DEPTH_MAX: Final = 32
_SCAN_BYTES: Final = 4096
_TEXTS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')

T = TypeVar("T")

_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()


class _DuplicateKeyError(ValueError):
    """Raised when an object names a member twice."""


def encode(value: msgspec.Struct, media: str) -> bytes:
    """Return the bytes of an answer."""
    return _msgpack_encoder.encode(value) if media == MSGPACK else _json_encoder.encode(value)


def decode(body: bytes, media: str, kind: type[T]) -> T:
    """Read a body as ``kind``.

    Raises:
        ProblemError: ``unsupported-media-type``; ``malformed-body`` for what is no JSON or MessagePack at all, is nested deeper than 32
            or names a member twice; ``invalid-attribute`` for what does not fit the schema.
    """
    if media not in {JSON, MSGPACK}:
        raise ProblemError("unsupported-media-type", f"this resource reads {JSON} and {MSGPACK}")
    try:
        value = msgspec.json.decode(body, type=kind) if media == JSON else msgspec.msgpack.decode(body, type=kind)
        _refuse_duplicates(body, media)
    except msgspec.ValidationError as exc:
        _refuse_depth(body, media)
        raise ProblemError("invalid-attribute", str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _DuplicateKeyError) as exc:
        _refuse_depth(body, media)
        raise ProblemError("malformed-body", str(exc)[:200]) from exc
    return value


def _refuse_duplicates(body: bytes, media: str) -> None:
    """Find members named twice, of which msgspec silently takes the last; ``body`` is known to fit a schema."""
    if media == JSON:
        json.loads(body, object_pairs_hook=_unique)
        return
    # Written again in the shortest form, a body has the same length exactly if it was in that form and nothing was dropped.
    if len(_msgpack_encoder.encode(msgspec.msgpack.decode(body))) != len(body):
        _Walk(body).check()


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len({name for name, _ in pairs}) != len(pairs):
        raise _DuplicateKeyError("an object names a member twice")


def _refuse_depth(body: bytes, media: str) -> None:
    """Say of a body that was refused anyway that its depth was the reason; looks at its beginning only, so that the time is bounded."""
    if media == JSON:
        level = 0
        for byte in _TEXTS.sub(b"", body[:_SCAN_BYTES]):
            level += (byte in b"[{") - (byte in b"]}")
            if level > DEPTH_MAX:
                raise ProblemError("malformed-body", f"nested deeper than {DEPTH_MAX}")
    elif _opens_deeper(body):
        raise ProblemError("malformed-body", f"nested deeper than {DEPTH_MAX}")


def _opens_deeper(body: bytes) -> bool:
    """Whether a MessagePack body begins with more lists inside each other than are allowed."""
    at = 0
    for _ in range(DEPTH_MAX + 1):
        lead = body[at] if at < len(body) else _NIL
        if lead not in _NESTED and not _FIXMAP <= lead < _FIXSTR:
            return False
        at += 1 + _NESTED.get(lead, (0, False))[0]
    return True


class _Walk:
    """A walk over valid MessagePack that is not in its shortest form; counts nothing but the keys of maps."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def check(self) -> None:
        """Raise when a map names a key twice."""
        self._value()

    def _value(self) -> None:
        lead = self._body[self._at]
        size, count, is_map = _shape(lead)
        self._at += 1
        if count < 0:
            count = int.from_bytes(self._body[self._at : self._at + size])
            self._at += size
            size = 0
        if is_map is None:
            self._at += size + count
            return
        seen = set[bytes]()
        for _ in range(count):
            if is_map:
                seen.add(self._key())
            self._value()
        if is_map and len(seen) != count:
            raise _DuplicateKeyError("a map names a key twice")

    def _key(self) -> bytes:
        """Return a key's text; only texts are keys here, whatever length form they have."""
        lead = self._body[self._at]
        width = {0xD9: 1, 0xDA: 2, 0xDB: 4}.get(lead, 0)
        size = int.from_bytes(self._body[self._at + 1 : self._at + 1 + width]) if width else lead & 0x1F
        start = self._at + 1 + width
        self._at = start + size
        return self._body[start : self._at]


# First bytes of the formats (MessagePack specification, overview).
_FIXMAP: Final = 0x80
_FIXARRAY: Final = 0x90
_FIXSTR: Final = 0xA0
_NIL: Final = 0xC0
_FIXED: Final = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_NESTED: Final = {0xDC: (2, False), 0xDD: (4, False), 0xDE: (2, True), 0xDF: (4, True)}


def _shape(lead: int) -> tuple[int, int, bool | None]:
    """Return for a value's first byte: how many bytes follow it, how many members it has (-1: those bytes say), whether it is a map.

    None instead of a boolean: it has no members, the count is of bytes (MessagePack specification, formats).
    """
    if lead in _SIZED:
        return _SIZED[lead], -1, None
    if lead in _NESTED:
        return _NESTED[lead][0], -1, _NESTED[lead][1]
    if _FIXMAP <= lead < _FIXSTR:
        return 0, lead & 0x0F, lead < _FIXARRAY
    if _FIXSTR <= lead < _NIL:
        return 0, lead & 0x1F, None
    return _FIXED.get(lead, 0), 0, None
