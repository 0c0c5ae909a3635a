"""Leases a lane for a new session and publishes its claim: the CREATE of the protocol up to where a worker takes over."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from broker.claims import publish_claim
from broker.errors import BrokerError, BrokerUnavailableError, UnroutableError
from broker.journal.stream import StreamRecord, last_records
from broker.lanes import FreeLanes, LaneLease
from broker.link import Broker
from broker.publishing import Publisher
from gateway.metrics import GatewayMetrics
from gateway.problems import ProblemError
from runtime.logs import get_logger
from schemas.ids import Position, SessionId
from schemas.messages import Claim, InputHeaders, InputKind, SubmissionRange
from schemas.records import RecordKind, body_digest
from schemas.topology import ClusterTopology

__all__ = ["Lanes", "common_message", "lane_is_live"]

_SECONDS: Final = 4.5
"""For all steps together: below the 5 s in which a client shall hear that the broker is away."""

_SURPLUS: Final = 64
"""How many tokens of lanes in use are dropped at most in one request."""


class CommonMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Common data, ready to be put into a lane."""

    key: bytes
    """Key and fingerprint, as claims name it."""
    headers: Mapping[str, int | str]
    body: bytes


def common_message(sid: bytes, key: bytes, fp: bytes, data: bytes) -> CommonMessage:
    """Return the message that brings common data to the session's owner."""
    headers = InputHeaders(sid=sid, kind=InputKind.COMMON, ranges=[SubmissionRange(key, fp, 1, 0, 1)], digest=body_digest(data))
    return CommonMessage(key=key + fp, headers=headers.to_table(), body=data)


def lane_is_live(tail: Sequence[StreamRecord]) -> bool:
    """Whether the last chunk of a lane's journal tells of a session that has not ended.

    A wrong answer does no harm: a live lane's owner refuses a second session, and a free lane's lost token is replaced by the sweep.
    """
    live, ended = "", set[str]()
    for record in tail:
        sid, kind = str(record.headers.get("sid", "")), record.headers.get("kind")
        if kind == RecordKind.REFUSED and not record.headers.get("num"):
            # A refusal without an epoch speaks of a session that met another one here, which lives on.
            live = live or "another"
        elif kind in {RecordKind.CLOSED, RecordKind.REFUSED}:
            ended.add(sid)
            live = "" if live == sid else live
        elif sid not in ended and (kind == RecordKind.MARK or not live):
            live = sid
    return bool(live)


class Lanes:
    """Leases lanes of all clusters.

    Args:
        broker: The broker.
        publisher: Publishes claims, common data and surplus tokens.
        clusters: The clusters.
        metrics: Counts what becomes of tokens.
    """

    def __init__(self, *, broker: Broker, publisher: Publisher, clusters: Sequence[str], metrics: GatewayMetrics) -> None:
        self._broker = broker
        self._publisher = publisher
        self._metrics = metrics
        self._topologies = {cluster: ClusterTopology(cluster=cluster) for cluster in clusters}
        self._free = {cluster: FreeLanes(broker=broker, cluster=cluster, publisher=publisher) for cluster in clusters}
        self._log = get_logger(__name__)

    async def aclose(self) -> None:
        """Close the channels that wait for the next lease."""
        for free in self._free.values():
            await free.aclose()

    async def begin(
        self, cluster: str, make: Callable[[int, Position | None], SessionId], claim: Callable[[SessionId], Claim], common: bytes | None
    ) -> SessionId:
        """Lease a lane, put common data and the claim there, use the token up; return the session.

        Args:
            cluster: Whose lane.
            make: Makes the session of a lane and the journal's last record.
            claim: Makes the session's claim.
            common: The session's common data.

        Raises:
            ProblemError: ``no-free-lane``, ``grid-unavailable``, ``broker-unavailable``, ``quota-exceeded``.
        """
        deadline = asyncio.get_running_loop().time() + _SECONDS
        lease, born = await self._lease(cluster, deadline)
        session = make(lease.lane, born)
        try:
            body = claim(session)
            if common is not None:
                body = await self._publish_common(session, body, common)
            await self._publish_claim(body, deadline)
        except BaseException:
            self._metrics.lanes.labels("returned").inc()
            await asyncio.shield(lease.give_back())
            raise
        await lease.keep()
        self._metrics.lanes.labels("leased").inc()
        return session

    async def _lease(self, cluster: str, deadline: float) -> tuple[LaneLease, Position | None]:
        loop = asyncio.get_running_loop()
        for _ in range(_SURPLUS):
            lease = await self._free[cluster].take(within=max(0.1, deadline - loop.time()))
            if lease is None:
                self._metrics.lanes.labels("none-free").inc()
                raise ProblemError("no-free-lane")
            queue = self._topologies[cluster].lane_journal(lease.lane).name
            try:
                tail = await last_records(self._broker, queue, within=max(0.1, deadline - loop.time()))
            except BaseException:
                await asyncio.shield(lease.give_back())
                raise
            if not lane_is_live(tail):
                return lease, Position(tail[-1].offset, tail[-1].message_id) if tail else None
            self._log.info("surplus token dropped", cluster=cluster, lane=lease.lane)
            self._metrics.lanes.labels("surplus").inc()
            await lease.keep()
        raise ProblemError("no-free-lane")

    async def _publish_common(self, session: SessionId, claim: Claim, data: bytes) -> Claim:
        message = common_message(session.sid, secrets.token_bytes(16), secrets.token_bytes(4), data)
        await self.publish_common(session, message)
        return msgspec.structs.replace(claim, common_data_key=message.key)

    async def publish_common(self, session: SessionId, message: CommonMessage) -> None:
        """Put common data into a session's lane.

        Raises:
            BrokerError: As ``Publisher.publish``.
        """
        topology = self._topologies.get(session.cluster)
        if topology is None:
            raise ProblemError("unknown-session")
        key = topology.input_key(session.lane)
        await self._publisher.publish(exchange=topology.exchange.name, key=key, body=message.body, headers=message.headers)

    async def _publish_claim(self, claim: Claim, deadline: float) -> None:
        """D2: an unconfirmed claim is repeated under a new message id until the deadline; owners survive surplus claims."""
        while True:
            try:
                await publish_claim(self._publisher, claim, secrets.token_hex(16))
            except UnroutableError as exc:
                raise ProblemError("grid-unavailable", "the grid's cluster is not set up") from exc
            except BrokerError as exc:
                if asyncio.get_running_loop().time() >= deadline:
                    raise ProblemError("broker-unavailable") from exc
                await asyncio.sleep(0 if not isinstance(exc, BrokerUnavailableError) else 0.2)
            else:
                return
