"""Reads members of a decoded answer: strict about what is there, indifferent to what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["Fields", "UnreadableError"]

_MISSING: Final = object()


class UnreadableError(ValueError):
    """Raised when an answer lacks a member or has one of another type."""


class Fields:
    """The members of one object of an answer.

    Args:
        value: What the decoder gave.
        what: The object's name, for error messages.
    """

    __slots__ = ("_members", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, Mapping):
            raise UnreadableError(f"{what}: an object was expected")
        self._members = value
        self._what = what

    def _wrong(self, name: str) -> UnreadableError:
        state = "is missing" if name not in self._members else "has another type than expected"
        return UnreadableError(f"{self._what}: {name} {state}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string."""
        value = self._members.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name)
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        """Return an integer."""
        value = self._members.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number."""
        value = self._members.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name)
        return float(value)

    def truth(self, name: str, *, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self._members.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name)
        return value

    def binary(self, name: str) -> bytes | None:
        """Return bytes, or None where the member is left out."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, bytes):
            raise self._wrong(name)
        return value

    def part(self, name: str) -> object | None:
        """Return a member as it is, or None."""
        return self._members.get(name)

    def parts(self, name: str, *, optional: bool = False) -> list[object]:
        """Return a list."""
        value = self._members.get(name, [] if optional else _MISSING)
        if not isinstance(value, list):
            raise self._wrong(name)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings; empty where the member is left out."""
        values = self.parts(name, optional=True)
        texts = tuple(one for one in values if isinstance(one, str))
        if len(texts) != len(values):
            raise self._wrong(name)
        return texts
