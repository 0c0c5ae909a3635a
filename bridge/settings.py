"""Settings of a bridge worker: one TOML file."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bridge.connectors.local.profile import LocalSettings
from runtime.settings import BrokerSettings, LogSettings, Section, StatusSettings
from schemas.topology import LaneLimits, check_cluster_name

__all__ = ["BridgeSettings", "SessionSettings", "WorkerSettings"]

_Seconds = Annotated[float, msgspec.Meta(gt=0, le=30 * 24 * 3600)]


class WorkerSettings(Section, frozen=True, kw_only=True):
    """``[worker]``: this process.

    Args:
        name: Its name among the workers of the cluster; empty makes a fresh one at each start.
        sessions: How many sessions it owns at most.
        drain_seconds: How long running tasks may still finish after SIGTERM before the session is handed over.
        beat_seconds: Time between heartbeats; gateways take a worker that was not heard for 5 s as gone.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    sessions: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 1000
    drain_seconds: _Seconds = 20.0
    beat_seconds: _Seconds = 2.0


class SessionSettings(Section, frozen=True, kw_only=True):
    """``[session]``: how sessions are owned.

    Args:
        ack_delay: Seconds (the protocol's D) that an output has to have been visible, and be seen again, before its input is given up
            without the client's acknowledgement. 40 s outlive a power cut of a broker majority; 5 s a change of leader.
        reading_seconds: Time between fresh readings of the journal while inputs are held.
        idle_reading_seconds: The same while nothing is held.
        readback_seconds: How long a publication may take to come back before the owner is in doubt.
        unused_seconds: A session that nobody ever used is closed after this long.
        idle_seconds: A session that nobody has named for this long is closed and its lane returned.
        prefetch: Input messages held unacknowledged at most.
        held_bytes: Bytes that they may take; the larger messages are, the fewer are taken at once.
        cache_bytes: Visible outcomes kept to save runs after a loss.
        outputs_in_flight: Tasks handed to the grid at once, at most.
    """

    ack_delay: _Seconds = 40.0
    reading_seconds: _Seconds = 2.0
    idle_reading_seconds: _Seconds = 30.0
    readback_seconds: _Seconds = 5.0
    unused_seconds: _Seconds = 300.0
    idle_seconds: _Seconds = 24 * 3600.0
    prefetch: Annotated[int, msgspec.Meta(ge=4, le=2000)] = 500
    held_bytes: Annotated[int, msgspec.Meta(ge=1024 * 1024)] = 48 * 1024 * 1024
    cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 16 * 1024 * 1024
    outputs_in_flight: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000


class BridgeSettings(Section, frozen=True, kw_only=True):
    """A bridge's configuration file.

    Args:
        cluster: The cluster whose lanes and claims this worker serves.
        broker: Where RabbitMQ listens.
        connector: The grid; its ``kind`` chooses the connector.
        lanes: How much a lane may hold; the same figures that ``sluiceway broker setup`` was given.
    """

    cluster: str
    broker: BrokerSettings
    connector: LocalSettings
    worker: WorkerSettings = WorkerSettings()
    session: SessionSettings = SessionSettings()
    lanes: LaneLimits = LaneLimits()
    status: StatusSettings = StatusSettings()
    log: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        check_cluster_name(self.cluster)
