"""The format version that every record, cursor and sealed id carries: a process writes version n and reads n and n-1."""

from __future__ import annotations

from typing import Final

__all__ = ["FORMAT", "UnknownVersionError", "check_version"]

FORMAT: Final = 1
"""The version that this code writes."""


class UnknownVersionError(ValueError):
    """Raised when something carries a format version that this code cannot read: upgrade it, or wait until all peers are upgraded."""


def check_version(version: object) -> int:
    """Return ``version`` when this code reads it.

    Raises:
        UnknownVersionError: Neither the current version nor the one before it.
    """
    if version not in (FORMAT, FORMAT - 1) or isinstance(version, bool) or not isinstance(version, int):
        raise UnknownVersionError(f"format version {version!r:.20} is not readable here; this process reads {FORMAT - 1} and {FORMAT}")
    return version
