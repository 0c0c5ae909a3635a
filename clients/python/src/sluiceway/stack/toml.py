"""Writes TOML 1.0: tables, arrays of tables, strings, numbers, booleans and lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

__all__ = ["write_toml"]


def write_toml(table: Mapping[str, object]) -> str:
    """Return a table as TOML text."""
    return "\n".join(_lines(table, "")) + "\n"


def _lines(table: Mapping[str, object], path: str) -> Iterator[str]:
    """Yield plain keys first: after a table's heading they would belong to that table."""
    for key, value in table.items():
        if not _is_table(value) and not _is_tables(value):
            yield f"{key} = {_value(value)}"
    for key, value in table.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping):
            yield f"\n[{name}]"
            yield from _lines(value, f"{name}.")
        elif _is_tables(value) and isinstance(value, list | tuple):
            for one in value:
                yield f"\n[[{name}]]"
                yield from _lines(one, f"{name}.")


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    # A JSON string is a TOML basic string: the same escapes, quotes and all.
    return json.dumps(str(value), ensure_ascii=False)
