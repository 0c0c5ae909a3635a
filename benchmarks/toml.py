"""Writes tables as TOML 1.0."""

from __future__ import annotations

import json
from collections.abc import Mapping

__all__ = ["toml_text"]


def toml_text(table: Mapping[str, object]) -> str:
    """Return a document; tables within it stand in one line each."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in table.items())


def _value(value: object) -> str:
    match value:
        case Mapping():
            return "{" + ", ".join(f"{name} = {_value(one)}" for name, one in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_value(one) for one in value) + "]"
        case str() | bool() | int() | float():
            # JSON's texts, truth values and numbers are TOML's too.
            return json.dumps(value)
        case _:
            raise TypeError(f"no TOML for {type(value).__name__}")
