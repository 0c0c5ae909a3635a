"""Grids and connections."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from sluiceway.fields import Fields

__all__ = [
    "ConnectAnswer",
    "ConnectRequest",
    "GridDescription",
    "GridList",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectRequest:
    """Parameters of ``connect``."""

    WIRE_NAMES: ClassVar[dict[str, str]] = {"cluster_url": "clusterURL"}

    grid: str | None = None
    cluster_url: str | None = None
    application_name: str
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectAnswer:
    """A connection."""

    connection_id: str
    grid: str
    application_name: str

    @classmethod
    def read(cls, value: object) -> ConnectAnswer:
        """Read the answer to ``connect``."""
        fields = Fields(value, "connection")
        return cls(connection_id=fields.text("connectionId"), grid=fields.text("grid"), application_name=fields.text("applicationName"))


@dataclass(frozen=True, kw_only=True, slots=True)
class GridDescription:
    """A grid that the caller may use; its state is ``up``, ``draining`` or ``down``."""

    name: str
    state: str
    kind: str = ""
    applications: tuple[str, ...] = ()
    log_on: str = "none"
    clusters: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: object) -> GridDescription:
        """Read a grid's description."""
        fields = Fields(value, "grid")
        return cls(
            name=fields.text("name"),
            state=fields.text("state"),
            kind=fields.text("kind", ""),
            applications=fields.texts("applications"),
            log_on=fields.text("logOn", "none"),
            clusters=fields.texts("clusters"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GridList:
    """The grids that the caller may use."""

    grids: tuple[GridDescription, ...]

    @classmethod
    def read(cls, value: object) -> GridList:
        """Read the answer to ``listGrids``."""
        return cls(grids=tuple(GridDescription.read(one) for one in Fields(value, "grids").parts("grids")))
