"""Who a caller is, once a step of the workflow has recognised the credentials."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["ANYONE", "EVERY_GRID", "Principal"]

EVERY_GRID: Final = "*"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A caller. ``name`` is unique over all kinds of credentials: ``token|<name>`` for bearer tokens from the file."""

    name: str
    grids: tuple[str, ...] = ()
    """The grids the caller may use; ``*`` means every one."""

    @property
    def known(self) -> bool:
        """Whether the caller showed credentials."""
        return bool(self.name)

    def may_use(self, grid: str) -> bool:
        """Whether the caller may use a grid."""
        return EVERY_GRID in self.grids or grid in self.grids


ANYONE: Final = Principal(name="")
"""A caller without credentials, for public pages."""
