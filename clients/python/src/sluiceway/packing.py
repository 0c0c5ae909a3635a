"""MessagePack, in one place: the only module that imports ``msgpack``."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped] # it ships no annotations

__all__ = ["PackingError", "pack", "unpack"]


class PackingError(ValueError):
    """Raised when a value cannot be packed, or bytes are not one whole MessagePack value."""


def pack(value: object) -> bytes:
    """Return a value as MessagePack.

    Raises:
        PackingError: It has a part that MessagePack does not know.
    """
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise PackingError(str(exc) or type(exc).__name__) from exc
    return packed


def unpack(data: bytes) -> object:
    """Return the value that MessagePack bytes hold.

    Raises:
        PackingError: They hold none, or something follows it.
    """
    try:
        value: object = msgpack.unpackb(data, raw=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise PackingError(str(exc) or type(exc).__name__) from exc
    return value
