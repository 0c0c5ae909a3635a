"""What a route demands of its callers; a route that demands nothing by name is no route."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Policy"]


class Policy(StrEnum):
    """Who may call a route. Whether the named session or connection is the caller's own is judged when its id is opened."""

    PUBLIC = "public"
    """Everybody: descriptions of the interface, nothing about anybody's work."""
    CALLER = "caller"
    """Whoever shows valid credentials."""
