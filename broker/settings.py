"""The file ``broker.toml``: which broker, which clusters with how many lanes, and the disk that they must fit on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from broker.declaring import disk_needed
from runtime.settings import BrokerSettings, LogSettings, Section
from schemas.topology import ClusterTopology, LaneLimits

__all__ = ["BrokerFile", "ClusterSettings", "DiskSettings", "check_disk"]

_SHARE = 0.8


class ClusterSettings(Section, frozen=True, kw_only=True):
    """``[[clusters]]``: one cluster's broker objects.

    Args:
        name: The cluster's name.
        lanes: Sessions that can be open at once.
        limits: What each lane may hold.
    """

    name: str
    lanes: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 64
    limits: LaneLimits = LaneLimits()

    def __post_init__(self) -> None:
        # Raises ValueError for a name that cannot stand in names of broker objects.
        self.topology  # noqa: B018 - the value is not wanted, its check is

    @property
    def topology(self) -> ClusterTopology:
        """The broker objects."""
        return ClusterTopology(cluster=self.name, lanes=self.lanes, limits=self.limits)


class DiskSettings(Section, frozen=True, kw_only=True):
    """``[disk]``: the disk of each broker node.

    Args:
        folder: RabbitMQ's data folder, when the file is checked on a broker node.
        bytes: How much the nodes may take, when it is checked elsewhere.
    """

    folder: Path | None = None
    bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None


class BrokerFile(Section, frozen=True, kw_only=True):
    """``broker.toml``, read by ``sluiceway broker`` and checked by ``sluiceway config check --role broker``."""

    broker: BrokerSettings
    clusters: tuple[ClusterSettings, ...] = ()
    disk: DiskSettings = DiskSettings()
    log: LogSettings = LogSettings()


def check_disk(role: str, settings: msgspec.Struct) -> Iterable[str]:
    """Yield one sentence when all lanes together may take more than 80 % of the disk (the door ``sluiceway.checks``)."""
    if role != "broker" or not isinstance(settings, BrokerFile):
        return
    free = _free(settings.disk)
    needed = sum(disk_needed(cluster.topology) for cluster in settings.clusters)
    if free is not None and needed > free * _SHARE:
        lanes = sum(cluster.lanes for cluster in settings.clusters)
        yield (
            f"[[clusters]]: {lanes} lanes may take {needed / 2**30:.1f} GiB on each broker node, more than {_SHARE:.0%} of the"
            f" {free / 2**30:.1f} GiB there; use fewer lanes, smaller limits or a larger disk"
        )


def _free(disk: DiskSettings) -> int | None:
    if disk.bytes is not None:
        return disk.bytes
    if disk.folder is None or not disk.folder.exists():
        return None
    taken = sum(file.stat().st_size for file in disk.folder.rglob("*") if file.is_file())
    return shutil.disk_usage(disk.folder).free + taken
