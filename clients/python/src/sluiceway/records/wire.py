"""Names and values on the wire: camelCase, unset members left out."""

from __future__ import annotations

import dataclasses

__all__ = [
    "wire_form",
    "wire_name",
]


def wire_name(kind: type, name: str) -> str:
    """Return what a field of a record is called on the wire: ``applicationName`` for ``application_name``."""
    special: dict[str, str] = getattr(kind, "WIRE_NAMES", {})
    head, *rest = name.split("_")
    return special.get(name) or head + "".join(word.capitalize() for word in rest)


def wire_form(record: object) -> object:
    """Return a request as plain values: unset members left out, nested records likewise."""
    if isinstance(record, list | tuple):
        return [wire_form(one) for one in record]
    if not dataclasses.is_dataclass(record) or isinstance(record, type):
        return record
    members = ((one.name, getattr(record, one.name)) for one in dataclasses.fields(record))
    return {wire_name(type(record), name): wire_form(value) for name, value in members if value is not None}
