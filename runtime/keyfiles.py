"""The key ring on disk: a JSON file of mode 0600 that every gateway and bridge of a site shares."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec

from runtime.secretfiles import SecretFileError, read_secret_bytes, write_secret
from schemas.sealing import KEY_BYTES, KeyRing

__all__ = ["KeyFileError", "create_ring", "load_or_create_ring", "load_ring", "retire_key", "rotate_ring"]

_VERSION: Final = 1


class KeyFileError(Exception):
    """Raised when a key ring file cannot be read as one."""


class _RingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds; msgspec writes the keys as base64."""

    version: int
    current: str
    keys: dict[str, bytes]


def load_ring(path: Path) -> KeyRing:
    """Read a key ring file.

    Raises:
        KeyFileError: It is missing, open to other users, of an unknown version, or not a key ring.
    """
    try:
        stored = msgspec.json.decode(read_secret_bytes(path), type=_RingFile)
        if stored.version != _VERSION:
            raise KeyFileError(f"{path}: is of version {stored.version}, this program reads version {_VERSION}")
        return KeyRing(current=stored.current, keys=stored.keys)
    except SecretFileError as exc:
        raise KeyFileError(str(exc)) from exc
    # A ring that refuses its own keys says so as ValueError; msgspec's errors are ValueErrors too. None of them quotes a key.
    except ValueError as exc:
        raise KeyFileError(f"{path}: not a key ring: {exc}") from exc


def _store(path: Path, ring: KeyRing, *, replace: bool) -> None:
    stored = _RingFile(version=_VERSION, current=ring.current, keys=ring.keys)
    write_secret(path, msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n", replace=replace)


def _fresh_key() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def create_ring(path: Path) -> KeyRing:
    """Write a new ring with one key, ``k1``.

    Raises:
        FileExistsError: A file of that name is there: replacing a ring would void every id and cursor that clients hold.
    """
    ring = KeyRing(current="k1", keys={"k1": _fresh_key()})
    _store(path, ring, replace=False)
    return ring


def load_or_create_ring(path: Path) -> KeyRing:
    """Read the ring, or make it when there is none; of several processes that start together one makes it and all read the same."""
    try:
        return create_ring(path)
    except FileExistsError:
        return load_ring(path)


def rotate_ring(path: Path) -> KeyRing:
    """Add a key that seals from now on; the older ones still open.

    Every process must have read the file anew before the first text sealed with the new key reaches it: rotate, copy, restart one by one.

    Raises:
        KeyFileError: As ``load_ring``.
    """
    ring = load_ring(path)
    taken = [int(name[1:]) for name in ring.keys if name[:1] == "k" and name[1:].isdecimal()]
    name = f"k{max(taken, default=0) + 1}"
    rotated = KeyRing(current=name, keys={**ring.keys, name: _fresh_key()})
    _store(path, rotated, replace=True)
    return rotated


def retire_key(path: Path, name: str) -> KeyRing:
    """Remove a key that no longer seals; what it sealed opens nowhere any more.

    Raises:
        KeyFileError: As ``load_ring``, or the key is unknown or the current one.
    """
    ring = load_ring(path)
    if name not in ring.keys:
        raise KeyFileError(f"{path}: has no key named {name!r}")
    if name == ring.current:
        raise KeyFileError(f"{path}: {name!r} is the key that seals; rotate first")
    rest = KeyRing(current=ring.current, keys={other: key for other, key in ring.keys.items() if other != name})
    _store(path, rest, replace=True)
    return rest
