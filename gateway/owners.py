"""Talks to the workers that own sessions: requests with replies, acknowledgements, and what their heartbeats say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from broker.control import ControlBus, Requests
from broker.errors import BrokerError, BrokerUnavailableError
from broker.journal.stream import last_records
from broker.link import Broker
from broker.publishing import Publisher
from gateway.presence import Presence
from gateway.problems import ProblemError
from schemas.control import (
    Beat,
    ControlMessage,
    Reply,
    Request,
    SessionSummary,
    Verb,
    beat_key,
    cluster_key,
    gateway_key,
    worker_key,
)
from schemas.ids import SessionId
from schemas.problems import PROBLEMS
from schemas.topology import ClusterTopology

__all__ = ["Owners", "question"]

_ASK_SECONDS: Final = 4.0
"""Below the 5 s in which a client shall hear that something is away."""


def question(verb: Verb) -> Request:
    """Return a request without parameters; who asks it fills the rest in."""
    return Request(id="", reply_to="", verb=verb)


class Owners:
    """The gateway's side of the control exchange. Async context manager.

    Args:
        broker: The broker.
        publisher: Publishes requests.
        gateway: This process' name, unique among gateways.
        clusters: Whose workers are listened to.
        presence: Where heartbeats go.
    """

    def __init__(self, *, broker: Broker, publisher: Publisher, gateway: str, clusters: Sequence[str], presence: Presence) -> None:
        self._broker = broker
        self._presence = presence
        own_key = gateway_key(gateway)
        keys = [own_key, *(beat_key(cluster) for cluster in clusters)]
        self.bus = ControlBus(broker=broker, publisher=publisher, keys=keys, on_message=self._receive)
        self._requests = Requests(bus=self.bus, reply_to=own_key)

    async def __aenter__(self) -> Self:
        await self.bus.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.bus.__aexit__(kind, error, trace)

    async def ask(self, session: SessionId, request: Request, *, within: float = _ASK_SECONDS) -> SessionSummary | None:
        """Ask a session's owner and return its summary of the session, when it gave one.

        Args:
            session: Which session.
            request: What is asked; session and principal are filled in.
            within: Seconds.

        Raises:
            ProblemError: The owner refused, ``owner-unavailable`` or ``broker-unavailable``.
        """
        filled = msgspec.structs.replace(request, sid=session.sid, principal=session.principal)
        try:
            async with asyncio.timeout(within):
                worker = self._presence.owner(session.sid) or await self._writer(session)
                reply = await self._requests.ask(worker_key(session.cluster, worker), filled, within=within)
        except BrokerUnavailableError as exc:
            raise ProblemError("broker-unavailable") from exc
        except (BrokerError, TimeoutError) as exc:
            raise ProblemError("owner-unavailable" if self._broker.ready else "broker-unavailable") from exc
        if reply.code:
            raise ProblemError(reply.code if reply.code in PROBLEMS else "internal-error", reply.detail)
        return next((summary for summary in reply.sessions if summary.sid == session.sid), None)

    async def _writer(self, session: SessionId) -> str:
        """Return who wrote the session's newest record: no heartbeat has named its owner yet."""
        queue = ClusterTopology(cluster=session.cluster).lane_journal(session.lane).name
        tail = await last_records(self._broker, queue)
        mine = [record for record in tail if record.headers.get("sid") == session.sid.hex() and record.headers.get("worker")]
        if not mine:
            raise ProblemError("owner-unavailable", "no worker has taken the session yet")
        newest = max(mine, key=lambda record: (int(str(record.headers.get("num", 0))), record.offset))
        return str(newest.headers["worker"])

    async def ask_cluster(self, cluster: str, verb: Verb, *, principal: str, connection: bytes = b"", within: float = 2.0) -> tuple[list[Reply], bool]:
        """Ask all workers of a cluster; return their replies and whether every living one answered."""
        living = len(self._presence.workers(cluster))
        request = Request(id="", reply_to="", verb=verb, principal=principal, connection=connection)
        try:
            replies = await self._requests.ask_all(cluster_key(cluster), request, expect=living or None, within=within if living else 0.5)
        except (BrokerError, TimeoutError):
            return [], False
        return replies, len(replies) >= living

    def _receive(self, message: ControlMessage) -> None:
        match message:
            case Reply():
                self._requests.deliver(message)
            case Beat():
                self._presence.note(message)
            case _:
                pass
