"""The grids of this gateway: what the configuration names, and what heartbeats say about it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.presence import Presence
from gateway.problems import ProblemError
from gateway.security.principals import Principal
from gateway.settings import GridSettings
from schemas.http import ConnectRequest, GridDescription

__all__ = ["Grids"]


class Grids:
    """Finds grids and clusters for callers.

    Args:
        grids: The configuration, in order of preference.
        presence: Heartbeats.
    """

    def __init__(self, *, grids: Sequence[GridSettings], presence: Presence) -> None:
        self._grids = {grid.name: grid for grid in grids}
        self._presence = presence

    @property
    def clusters(self) -> tuple[str, ...]:
        """Every cluster of every grid, once."""
        return tuple(dict.fromkeys(cluster for grid in self._grids.values() for cluster in grid.clusters))

    def allowed_clusters(self, principal: Principal) -> tuple[str, ...]:
        """Return the clusters of the grids that the caller may use."""
        return tuple(dict.fromkeys(cluster for grid in self._allowed(principal) for cluster in grid.clusters))

    def clusters_of(self, grid: str) -> tuple[str, ...]:
        """Return the clusters of one grid; none when it was taken out of the configuration."""
        return self._grids[grid].clusters if grid in self._grids else ()

    def find(self, principal: Principal, wanted: ConnectRequest) -> GridSettings:
        """Return the grid that a connection is for.

        Raises:
            ProblemError: ``unknown-grid``, ``unknown-application``, or ``invalid-attribute`` when name and URL contradict each other.
        """
        grid = self._named(principal, wanted)
        if grid is not None:
            if not self._has(grid, wanted.application_name):
                raise ProblemError("unknown-application")
            return grid
        for candidate in self._allowed(principal):
            if self._has(candidate, wanted.application_name):
                return candidate
        raise ProblemError("unknown-application")

    def choose_cluster(self, grid_name: str, principal: Principal) -> str:
        """Return the cluster for a new session: the preferred one among those with room, else the preferred one.

        Raises:
            ProblemError: ``unknown-grid``: the grid was taken away, from all or from this caller.
        """
        grid = self._grids.get(grid_name)
        if grid is None or not principal.may_use(grid_name):
            raise ProblemError("unknown-grid")
        return next((cluster for cluster in grid.clusters if self._presence.room(cluster) > 0), grid.clusters[0])

    def describe(self, principal: Principal) -> list[GridDescription]:
        """Return the grids that the caller may use, as they are now."""
        return [self._describe(grid) for grid in self._allowed(principal)]

    def _allowed(self, principal: Principal) -> list[GridSettings]:
        return [grid for grid in self._grids.values() if principal.may_use(grid.name)]

    def _named(self, principal: Principal, wanted: ConnectRequest) -> GridSettings | None:
        by_name = self._grids.get(wanted.grid) if isinstance(wanted.grid, str) else None
        by_url = self._by_url(wanted.cluster_url) if isinstance(wanted.cluster_url, str) else None
        if isinstance(wanted.grid, str) and isinstance(wanted.cluster_url, str) and by_name is not by_url:
            raise ProblemError("invalid-attribute", "grid and clusterURL name different grids; give one of them")
        if not isinstance(wanted.grid, str) and not isinstance(wanted.cluster_url, str):
            return None
        grid = by_name or by_url
        if grid is None or not principal.may_use(grid.name):
            raise ProblemError("unknown-grid")
        return grid

    def _by_url(self, url: str) -> GridSettings | None:
        return next((grid for grid in self._grids.values() if url in grid.urls), None)

    def _has(self, grid: GridSettings, application: str) -> bool:
        known = self._applications(grid)
        return not known or application in known

    def _applications(self, grid: GridSettings) -> list[str]:
        """The configuration's list, else what living workers offer; empty while nobody knows."""
        if grid.applications:
            return list(grid.applications)
        return sorted({name for cluster in grid.clusters for beat in self._presence.workers(cluster) for name in beat.applications})

    def _describe(self, grid: GridSettings) -> GridDescription:
        beats = [beat for cluster in grid.clusters for beat in self._presence.workers(cluster)]
        state = "down" if not beats else "draining" if all(beat.draining for beat in beats) else "up"
        return GridDescription(
            name=grid.name,
            state=state,
            kind=beats[0].kind if beats else "",
            applications=self._applications(grid),
            log_on=grid.log_on,
            clusters=list(grid.clusters),
        )
