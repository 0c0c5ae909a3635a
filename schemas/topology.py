"""The broker's objects as data: one value can be printed, compared, tested and declared.

What safety rests on (queue type, overflow, delivery limit, dead letters, segment size) are queue arguments, given explicitly so that
RabbitMQ 3.10 to 4.x behave alike. Sources: RabbitMQ documentation of quorum queues, streams, queue length limits and consumer timeouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

__all__ = [
    "CONTROL_EXCHANGE",
    "DEAD_EXCHANGE",
    "DEAD_QUEUE",
    "DELIVERY_LIMIT",
    "SEGMENT_BYTES",
    "SETTINGS_STREAM",
    "Binding",
    "ClusterTopology",
    "Exchange",
    "ExchangeKind",
    "LaneLimits",
    "Queue",
    "check_cluster_name",
    "shared_topology",
]

CONTROL_EXCHANGE: Final = "sw.control"
DEAD_EXCHANGE: Final = "sw.dead"
DEAD_QUEUE: Final = "sw.dead"
SETTINGS_STREAM: Final = "sw.settings"

DELIVERY_LIMIT: Final = 1_000_000
"""Owners judge poison themselves. Never -1: RabbitMQ 3.x takes that as 0; 4.x without it drops after 20 redeliveries."""

SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""Streams are trimmed by whole segments; the default of 500 MB would fill disks."""

_CONSUMER_TIMEOUT_MS: Final = 7 * 24 * 3600 * 1000
"""Claims are held for a session's life; 3.10 knows this argument only as a node's setting and ignores it here."""

_CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_MAX_LANES: Final = 1_000


class ExchangeKind(StrEnum):
    """Kinds of exchanges in use."""

    DIRECT = "direct"
    TOPIC = "topic"


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A durable exchange."""

    name: str
    kind: ExchangeKind


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A durable queue or stream with all its arguments."""

    name: str
    arguments: dict[str, int | str]


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A queue bound to an exchange."""

    exchange: str
    queue: str
    key: str


class LaneLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each lane may hold, in bytes."""

    input_bytes: int = 64 * 1024 * 1024
    """Beyond this submissions are answered 429."""
    output_quota: int = 64 * 1024 * 1024
    """Outputs that no client has acknowledged; beyond this the owner takes no further work."""

    @property
    def journal_bytes(self) -> int:
        """The stream's size limit: above twice the quota and three segments, so that only acknowledged output can be trimmed."""
        return 2 * self.output_quota + 4 * SEGMENT_BYTES

    @property
    def lane_bytes(self) -> int:
        """The disk that one lane may take on each broker node, a segment above the limit included."""
        return self.input_bytes + self.journal_bytes + SEGMENT_BYTES


def check_cluster_name(name: str) -> str:
    """Return ``name`` when it can stand in names of broker objects.

    Raises:
        ValueError: Not 1 to 64 letters, digits, ``-`` and ``_``.
    """
    if not _CLUSTER_NAME.match(name):
        raise ValueError(f"cluster name {name!r:.80} must be 1 to 64 letters, digits, '-' and '_', beginning with a letter or digit")
    return name


def _quorum(name: str, arguments: dict[str, int | str] | None = None) -> Queue:
    common: dict[str, int | str] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-consumer-timeout": _CONSUMER_TIMEOUT_MS,
        "x-overflow": "reject-publish",
    }
    return Queue(name=name, arguments=common | (arguments or {}))


def _stream(name: str, size: int) -> Queue:
    return Queue(name=name, arguments={"x-queue-type": "stream", "x-max-length-bytes": size, "x-stream-max-segment-size-bytes": SEGMENT_BYTES})


class ClusterTopology(msgspec.Struct, frozen=True, kw_only=True):
    """All broker objects of one cluster, made once by ``sluiceway broker setup``."""

    cluster: str
    lanes: int = 64
    limits: LaneLimits = LaneLimits()

    def __post_init__(self) -> None:
        check_cluster_name(self.cluster)
        if not 1 <= self.lanes <= _MAX_LANES:
            raise ValueError(f"lanes must be 1 to {_MAX_LANES}, not {self.lanes}")

    @property
    def exchange(self) -> Exchange:
        """Every publish of the cluster goes through it; its bindings' keys are the queues' short names."""
        return Exchange(name=f"sw.{self.cluster}", kind=ExchangeKind.DIRECT)

    @property
    def claims(self) -> Queue:
        """One message per open session."""
        return _quorum(f"sw.{self.cluster}.claims")

    @property
    def free(self) -> Queue:
        """One token per free lane."""
        return _quorum(f"sw.{self.cluster}.free")

    def lane_input(self, lane: int) -> Queue:
        """Inputs of the session that leases the lane."""
        return _quorum(
            f"sw.{self.cluster}.lane.{lane}.in",
            {
                "x-max-length-bytes": self.limits.input_bytes,
                "x-dead-letter-exchange": DEAD_EXCHANGE,
                "x-dead-letter-routing-key": f"{self.cluster}.lane.{lane}.in",
            },
        )

    def lane_journal(self, lane: int) -> Queue:
        """The journal of the session that leases the lane."""
        return _stream(f"sw.{self.cluster}.lane.{lane}.out", self.limits.journal_bytes)

    @property
    def claims_key(self) -> str:
        """Routing key of claims."""
        return "claims"

    @property
    def free_key(self) -> str:
        """Routing key of free-lane tokens."""
        return "free"

    def input_key(self, lane: int) -> str:
        """Routing key of a lane's input side."""
        return f"lane.{lane}.in"

    def journal_key(self, lane: int) -> str:
        """Routing key of a lane's journal."""
        return f"lane.{lane}.out"

    def lane_pairs(self, first: int = 0) -> Iterator[tuple[Queue, Binding]]:
        """Yield the queues of lanes ``first`` to the last, each with its binding."""
        for lane in range(first, self.lanes):
            for queue, key in ((self.lane_input(lane), self.input_key(lane)), (self.lane_journal(lane), self.journal_key(lane))):
                yield queue, Binding(exchange=self.exchange.name, queue=queue.name, key=key)

    def base_pairs(self) -> Iterator[tuple[Queue, Binding]]:
        """Yield the cluster's own queues, each with its binding."""
        for queue, key in ((self.claims, self.claims_key), (self.free, self.free_key)):
            yield queue, Binding(exchange=self.exchange.name, queue=queue.name, key=key)


def shared_topology() -> tuple[list[Exchange], list[Queue], list[Binding]]:
    """Return what all clusters of one broker share: control exchange, dead letters, operators' settings."""
    dead = _quorum(DEAD_QUEUE)
    return (
        [Exchange(name=CONTROL_EXCHANGE, kind=ExchangeKind.TOPIC), Exchange(name=DEAD_EXCHANGE, kind=ExchangeKind.TOPIC)],
        [dead, _stream(SETTINGS_STREAM, 4 * SEGMENT_BYTES)],
        [Binding(exchange=DEAD_EXCHANGE, queue=DEAD_QUEUE, key="#")],
    )
