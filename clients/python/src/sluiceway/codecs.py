"""Codecs turn values into bytes and back: ``raw``, ``json``, ``msgpack`` or one of your own, never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from sluiceway.errors import CodecError
from sluiceway.fine_typing import override
from sluiceway.packing import PackingError, pack, unpack

__all__ = ["Codec", "JsonCodec", "MsgpackCodec", "RawCodec", "Value", "find_codec", "standard_codecs"]

Value: TypeAlias = Any
"""What a codec encodes or has decoded; its type is the caller's business."""


class Codec(Protocol):
    """One way to write values as bytes."""

    @property
    def name(self) -> str:
        """What ``codec=`` names it by."""
        ...

    def encode(self, value: Value) -> bytes:
        """Return the bytes of a task input or of common data.

        Raises:
            CodecError: The value does not fit.
        """
        ...

    def decode(self, data: bytes) -> Value:
        """Return the value of a task output.

        Raises:
            CodecError: The bytes are not of this codec.
        """
        ...


class RawCodec(Codec):
    """Bytes stay bytes."""

    @property
    @override
    def name(self) -> str:
        """``raw``."""
        return "raw"

    @override
    def encode(self, value: Value) -> bytes:
        """Return bytes-like values as they are."""
        if not isinstance(value, bytes | bytearray | memoryview):
            raise CodecError(f"a task input must be bytes, not {type(value).__name__}; or name a codec such as 'json' or 'msgpack'")
        return bytes(value)

    @override
    def decode(self, data: bytes) -> Value:
        """Return the bytes."""
        return data


class JsonCodec(Codec):
    """Values as UTF-8 JSON text (RFC 8259)."""

    @property
    @override
    def name(self) -> str:
        """``json``."""
        return "json"

    @override
    def encode(self, value: Value) -> bytes:
        """Write compact JSON; NaN and infinities are refused, since JSON has none."""
        try:
            return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as exc:
            raise CodecError(f"not a JSON value: {exc}") from exc

    @override
    def decode(self, data: bytes) -> Value:
        """Read JSON text."""
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise CodecError(f"the task output is not JSON: {exc}") from exc


class MsgpackCodec(Codec):
    """Values as MessagePack: like JSON, with bytes, and exact floats."""

    @property
    @override
    def name(self) -> str:
        """``msgpack``."""
        return "msgpack"

    @override
    def encode(self, value: Value) -> bytes:
        """Write MessagePack."""
        try:
            return pack(value)
        except PackingError as exc:
            raise CodecError(f"not a MessagePack value: {exc}") from exc

    @override
    def decode(self, data: bytes) -> Value:
        """Read MessagePack."""
        try:
            return unpack(data)
        except PackingError as exc:
            raise CodecError(f"the task output is not MessagePack: {exc}") from exc


def standard_codecs() -> dict[str, Codec]:
    """Return the codecs that come with the package, by name; add your own and pass the result as ``codecs=``."""
    return {one.name: one for one in (RawCodec(), JsonCodec(), MsgpackCodec())}


def find_codec(codec: str | Codec, known: Mapping[str, Codec]) -> Codec:
    """Return the codec of that name, or the codec itself.

    Raises:
        CodecError: No codec has that name.
    """
    if not isinstance(codec, str):
        return codec
    if codec not in known:
        raise CodecError(f"no codec is named {codec!r}; known are {', '.join(sorted(known))}")
    return known[codec]
