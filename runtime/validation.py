"""Finds everything that is wrong with a configuration, in the words of the file: section, key, and the nearest known one."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeGuard, Union, get_args, get_origin

import msgspec

__all__ = ["Where", "find_problems"]

Where: TypeAlias = tuple[str | int, ...]
"""The way from the file's top to a value: keys, and positions in arrays counted from 0."""

_UNIONS: Final = (Union, types.UnionType)
_PATH_SUFFIX: Final = re.compile(r" - at `\$.*`$")

DecodeHook: TypeAlias = Callable[[type, Any], Any]


def find_problems(value: object, expected: object, *, decode: DecodeHook, where: Where = ()) -> Iterator[str]:
    """Yield one sentence for each thing in ``value`` that does not fit ``expected``.

    msgspec stops at the first error; an operator who corrects a file wants all of them at once. So the walk goes down by itself
    and asks msgspec about the leaves, and about a whole section only when its parts are sound.

    Args:
        value: What tomllib read.
        expected: A struct type, or any type that msgspec converts to.
        decode: Converts what TOML does not know, such as paths.
        where: The way from the file's top to ``value``.
    """
    sound = True
    for problem in _inner_problems(value, expected, decode, where):
        sound = False
        yield problem
    if sound:
        try:
            msgspec.convert(value, expected, dec_hook=decode)
        # A section that refuses its own values does so by ValueError; msgspec's errors are ValueErrors too.
        except ValueError as exc:
            place = _of_section(where) if isinstance(value, Mapping) else _place(where)
            yield f"{place}{_lower_first(_PATH_SUFFIX.sub('', str(exc)))}{_choices(expected)}"


def _inner_problems(value: object, expected: object, decode: DecodeHook, where: Where) -> Iterator[str]:
    kind, arguments = _container(value, expected)
    if isinstance(value, Mapping) and _is_struct(kind):
        yield from _table_problems(value, kind, decode, where)
    elif isinstance(value, Mapping) and kind is dict:
        for key, item in value.items():
            yield from find_problems(item, arguments[1], decode=decode, where=(*where, key))
    elif isinstance(value, list) and kind in {list, tuple}:
        for position, item in enumerate(value):
            yield from find_problems(item, arguments[0], decode=decode, where=(*where, position))


def _table_problems(table: Mapping[str, object], kind: type[msgspec.Struct], decode: DecodeHook, where: Where) -> Iterator[str]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag = kind.__struct_config__.tag_field
    for key in sorted(table.keys() - fields.keys() - {tag}):
        yield _unknown(key, sorted(fields), where, is_table=isinstance(table[key], dict))
    for name, field in fields.items():
        if name in table:
            yield from find_problems(table[name], field.type, decode=decode, where=(*where, name))
        elif field.required:
            section = _is_struct(_container({}, field.type)[0])
            yield f"missing section [{_dotted((*where, name))}]" if section else f"{_of_section(where)}missing key {name!r}"


def _container(value: object, expected: object) -> tuple[Any, tuple[Any, ...]]:
    """Strip annotations and unions down to the one type that ``value`` may be meant as."""
    origin = get_origin(expected)
    if origin is Annotated:
        return _container(value, get_args(expected)[0])
    if origin in _UNIONS:
        choices = [choice for choice in get_args(expected) if choice is not type(None)]
        if len(choices) > 1:
            choices = [choice for choice in choices if _is_struct(choice) and _tagged(value, choice)]
        return _container(value, choices[0]) if len(choices) == 1 else (None, ())
    return (origin, get_args(expected)) if origin else (expected, ())


def _tagged(value: object, choice: type[msgspec.Struct]) -> bool:
    config = choice.__struct_config__
    return isinstance(value, Mapping) and value.get(config.tag_field) == config.tag


def _is_struct(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _unknown(key: str, known: list[str], where: Where, *, is_table: bool) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    what = f"unknown section [{_dotted((*where, key))}]" if is_table else f"{_of_section(where)}unknown key {key!r}"
    return f"{what}; {advice}"


def _dotted(where: Where) -> str:
    return ".".join(str(step) for step in where if isinstance(step, str))


def _section(where: Where) -> str:
    """Name a table as TOML writes it: ``[a.b]``, or ``[[a.b]] number 2`` for one of an array of tables."""
    if not where:
        return ""
    parts, names = [], list[str]()
    for step in where:
        if isinstance(step, str):
            names.append(step)
        else:
            parts.append(f"[[{'.'.join(names)}]] number {step + 1}")
            names = []
    if names:
        parts.append(f"[{'.'.join(names)}]")
    return ", ".join(parts)


def _of_section(where: Where) -> str:
    return f"{_section(where)}: " if where else ""


def _place(where: Where) -> str:
    """Name a value: its section, its key and, in an array, its position."""
    keys = [index for index, step in enumerate(where) if isinstance(step, str)]
    if not keys:
        return ""
    items = "".join(f" item {int(step) + 1}" for step in where[keys[-1] + 1 :])
    return f"{_section(where[: keys[-1]])} {where[keys[-1]]}{items}: ".lstrip()


def _choices(expected: object) -> str:
    return f"; one of {', '.join(map(str, get_args(expected)))}" if get_origin(expected) is Literal else ""


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
