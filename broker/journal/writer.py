"""Appends one session's records to its lane's journal, in order, and counts what the broker has not confirmed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial

import msgspec

from broker.publishing import Publisher
from schemas.ids import Position
from schemas.records import EPOCH_NONCE_BYTES, Outputs, RecordBody, RecordHeaders, RecordKind, body_digest, encode_body
from schemas.topology import ClusterTopology

__all__ = ["Appended", "JournalWriter"]


class Appended(msgspec.Struct, frozen=True, eq=False):
    """A record on its way."""

    pub: int
    """Its number within the epoch's nonce."""
    size: int
    """Its body's bytes."""
    confirmed: asyncio.Future[None]
    """Done when the broker has confirmed it, which does not mean that it counts; fails with a ``BrokerError``."""

    @property
    def failed(self) -> bool:
        """Whether it is known that no confirm will come."""
        return self.confirmed.done() and (self.confirmed.cancelled() or self.confirmed.exception() is not None)


class JournalWriter:
    """The write side of one session's journal.

    Args:
        publisher: Publishes the records; its order is the journal's.
        cluster: The session's cluster.
        lane: The session's lane.
        sid: The session's nonce.
        worker: The bridge worker's name, to which live requests for the session go.
    """

    def __init__(self, *, publisher: Publisher, cluster: str, lane: int, sid: bytes, worker: str) -> None:
        topology = ClusterTopology(cluster=cluster)
        self._publisher = publisher
        self._exchange = topology.exchange.name
        self._key = topology.journal_key(lane)
        self._sid = sid
        self._worker = worker
        self._num = 0
        self._nonce = b""
        self._pub = 0
        self._unconfirmed = 0
        self._open: set[asyncio.Future[None]] = set()
        self._progress = asyncio.Event()

    @property
    def num(self) -> int:
        """The number of the epoch that ``begin`` started last."""
        return self._num

    @property
    def nonce(self) -> bytes:
        """The nonce of the epoch that ``begin`` started last."""
        return self._nonce

    @property
    def pub(self) -> int:
        """The number of the record appended last in this epoch."""
        return self._pub

    @property
    def unconfirmed_bytes(self) -> int:
        """The bytes of bodies that were appended and neither confirmed nor given up."""
        return self._unconfirmed

    def begin(self, num: int) -> bytes:
        """Start an epoch: what is appended from now on carries ``num``, a fresh nonce and publication numbers from 1.

        Args:
            num: Higher than any number seen, used or heard of; 0 only to refuse a session without an epoch.

        Returns:
            The epoch's nonce.
        """
        self._num = num
        self._nonce = secrets.token_bytes(EPOCH_NONCE_BYTES)
        self._pub = 0
        return self._nonce

    def append(self, kind: RecordKind, body: RecordBody, *, first: int = 0, acked: int = 1, scan: Position | None = None) -> Appended:
        """Publish the next record at once, behind all that were appended before.

        Args:
            kind: The record's kind.
            body: What it says.
            first: For outputs: the sequence number of the first.
            acked: The client has acknowledged all outputs below this number.
            scan: A sound place to start reading, once one was read back.

        Raises:
            ValueError: No epoch was begun.
        """
        if not self._nonce:
            raise ValueError("begin an epoch first")
        raw = encode_body(body)
        self._pub += 1
        headers = RecordHeaders(
            sid=self._sid,
            num=self._num,
            nonce=self._nonce,
            pub=self._pub,
            kind=kind,
            worker=self._worker,
            digest=body_digest(raw),
            scan=scan,
            acked=acked,
            first=first,
            count=len(body.outputs) if isinstance(body, Outputs) else 0,
        )
        confirmed = self._publisher.post(exchange=self._exchange, key=self._key, body=raw, headers=headers.to_table(), message_id=headers.message_id)
        self._unconfirmed += len(raw)
        self._open.add(confirmed)
        confirmed.add_done_callback(partial(self._settle, len(raw)))
        return Appended(self._pub, len(raw), confirmed)

    async def drained(self, below: int) -> None:
        """Return when fewer than ``below`` bytes are unconfirmed; 0 waits until nothing is."""
        await self._until(lambda: self._unconfirmed < below or not self._open)

    async def aclose(self) -> None:
        """Return when every record's fate is known; each has the publisher's deadline."""
        await self.drained(0)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._progress.clear()
            await self._progress.wait()

    def _settle(self, size: int, confirmed: asyncio.Future[None]) -> None:
        self._unconfirmed -= size
        self._open.discard(confirmed)
        self._progress.set()
