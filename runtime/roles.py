"""The doors through which rooms lend their settings and checks to the commands, without being imported here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeAlias

import msgspec

__all__ = ["Check", "RoleError", "load_checks", "load_role", "role_names"]

_SETTINGS: Final = "sluiceway.settings"
_CHECKS: Final = "sluiceway.checks"

Check: TypeAlias = Callable[[str, msgspec.Struct], Iterable[str]]
"""``check(role, settings)`` yields one sentence per problem; checks of other roles' settings yield nothing."""


class RoleError(Exception):
    """Raised when a role is unknown, or its room cannot be imported."""


def role_names() -> tuple[str, ...]:
    """Return the roles whose rooms offer settings."""
    return tuple(sorted({entry.name for entry in entry_points(group=_SETTINGS)}))


def load_role(role: str) -> type[msgspec.Struct]:
    """Return the settings struct of a role, from the entry-point group ``sluiceway.settings``.

    Raises:
        RoleError: No room offers that role, or the room cannot be imported.
    """
    for entry in entry_points(group=_SETTINGS, name=role):
        kind: type[msgspec.Struct] = _import(entry)
        return kind
    raise RoleError(f"no role is named {role!r}; known: {', '.join(role_names()) or 'none'}")


def load_checks() -> tuple[Check, ...]:
    """Return what rooms contribute to ``config check``, from the entry-point group ``sluiceway.checks``, by name.

    Raises:
        RoleError: A room cannot be imported: a check that did not run must not look like one that found nothing.
    """
    return tuple(_import(entry) for entry in sorted(entry_points(group=_CHECKS), key=lambda entry: entry.name))


def _import(entry: EntryPoint) -> Any:  # noqa: ANN401 - an entry point names anything; the callers know what theirs is
    try:
        return entry.load()
    except (ImportError, AttributeError) as exc:
        raise RoleError(f"{entry.group} {entry.name!r} ({entry.value}) cannot be imported: {exc}") from exc
