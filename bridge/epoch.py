"""One epoch of one session: numbers outcomes, bundles them into journal records, and follows them until they are read back.

Within an epoch a number has one content for ever: nothing is published twice. When anything is in doubt (a publication not confirmed, not
read back in time, or out of order) the epoch raises ``DoubtError`` and its owner begins a new one from the journal as it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from bridge.outcomes import output_bytes
from bridge.snapshots import snapshot_parts
from broker.journal.fold import Fold, JournalRecord, Verdict
from broker.journal.writer import JournalWriter
from schemas.ids import Position
from schemas.records import Mark, Outputs, RecordBody, RecordHeaders, RecordKind, SessionControls, StateChange, TaskOutput

__all__ = ["DoubtError", "Epoch", "EpochLimits"]

_BUNDLE_BYTES: Final = 1024 * 1024
_WORTHWHILE_BYTES: Final = 128 * 1024
"""A bundle of this size goes out at once; smaller ones wait while two publications are under way, and grow meanwhile."""
_UNDER_WAY: Final = 2


class DoubtError(Exception):
    """Raised when it is not certain what the journal holds: begin a new epoch from the journal as it is."""


class EpochLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one session's writing."""

    unconfirmed_bytes: int = 8 * 1024 * 1024
    """RabbitMQ 3.x hands whole chunks to readers, so what lies unconfirmed bounds what a reader has to take at once."""
    readback_seconds: float = 5.0
    snapshot_bytes: int = 64 * 1024 * 1024


class _Publication(msgspec.Struct):
    """One record on its way: ``visible`` is called when it was read back."""

    kind: RecordKind
    at: float
    size: int
    end: int
    visible: Callable[[], None] | None


class Epoch:
    """The owner's side of one epoch.

    Args:
        writer: Appends to the journal.
        fold: The owner's fold; the owner's reader keeps it up to date.
        limits: Sizes and times.
        failed: Called when a publication was not confirmed.
        progressed: Called when a publication was confirmed.
    """

    def __init__(
        self, *, writer: JournalWriter, fold: Fold, limits: EpochLimits, failed: Callable[[BaseException, int], None], progressed: Callable[[], None]
    ) -> None:
        self._writer = writer
        self._fold = fold
        self._limits = limits
        self._failed = failed
        self._progressed = progressed
        self._loop = asyncio.get_running_loop()
        self.num = 0
        self.nonce = b""
        self.at = 0
        self.controls = fold.controls
        self._flying_bytes = 0
        self._next = 0
        self._assigned: set[bytes] = set()
        self._waiting: deque[TaskOutput] = deque()
        self._waiting_bytes = 0
        self._unseen: dict[int, _Publication] = {}
        self._seen_pub = 0
        self._seen_at = 0.0
        self._scan: Position | None = None
        self._candidate: Position | None = None
        self._since_snapshot = 0
        self._acked_written = 0
        self._bodies: dict[int, Outputs] = {}

    @property
    def idle(self) -> bool:
        """Whether everything published was read back and nothing waits to be published."""
        return not self._unseen and not self._waiting

    @property
    def in_flight(self) -> bool:
        """Whether something published was not read back yet."""
        return bool(self._unseen)

    @property
    def unacked_bytes(self) -> int:
        """Bytes of outputs, published here or before, that the client has not acknowledged."""
        return self._fold.outstanding.bytes + self._flying_bytes

    @property
    def last(self) -> int:
        """The highest number given so far."""
        return self._next - 1

    def begin(self, num: int, claim_id: str) -> None:
        """Publish the mark of a new epoch: a higher number than any before, a fresh nonce, never repeated."""
        self.num = num
        self.nonce = self._writer.begin(num)
        self._publish(RecordKind.MARK, Mark(claim_id))

    def open(self) -> None:
        """Publish the first snapshot, from the fold at the mark; outputs may follow at once."""
        self.at = self._next = self._fold.next
        self.snapshot()

    def snapshot(self) -> None:
        """Publish what is visible now. Only with nothing in flight is it a place to start reading."""
        self._since_snapshot = 0
        for part in snapshot_parts(self._fold, at=self.at, controls=self.controls):
            self._publish(RecordKind.SNAP, part)

    def change(self, controls: SessionControls, visible: Callable[[], None] | None = None) -> None:
        """Publish a command's effect; ``visible`` is called when it was read back."""
        self.controls = controls
        self._publish(RecordKind.STATE, StateChange(acked=self._fold.acked, controls=controls), visible)

    def publish(self, kind: RecordKind, body: RecordBody, visible: Callable[[], None] | None = None) -> None:
        """Publish another record of this epoch."""
        self._publish(kind, body, visible)

    def assign(self, output: TaskOutput) -> bool:
        """Give a number to an outcome, once: the only place where completion and cancel can race. False: the task has one already."""
        if output.task_id in self._assigned:
            return False
        self._assigned.add(output.task_id)
        self._waiting.append(output)
        self._waiting_bytes += output_bytes(output)
        return True

    def unpublished(self) -> Iterator[TaskOutput]:
        """Yield the outputs that were not read back: the next epoch publishes them under numbers of its own."""
        for body in self._bodies.values():
            yield from body.outputs
        yield from self._waiting

    def published(self, headers: RecordHeaders) -> RecordBody | None:
        """Return the body that was published under these headers, so that nobody has to decode it when it is read back."""
        return self._bodies.get(headers.pub) if headers.nonce == self.nonce else None

    def flush(self) -> None:
        """Publish what waits, as bundles: while publications are under way small ones wait and grow."""
        if self._since_snapshot >= self._limits.snapshot_bytes:
            if self._unseen:
                return
            self.snapshot()
        while self._waiting and self._writer.unconfirmed_bytes < self._limits.unconfirmed_bytes:
            if len(self._unseen) >= _UNDER_WAY and self._waiting_bytes < _WORTHWHILE_BYTES:
                return
            self._publish_outputs()
            if self._since_snapshot >= self._limits.snapshot_bytes:
                return

    def drop_waiting(self) -> int:
        """Forget outcomes that were not published yet; return the highest number that was."""
        self._waiting.clear()
        self._waiting_bytes = 0
        return self._next - 1

    def repeat_acknowledged(self) -> None:
        """Show the client's position in the journal when no other record has, so that gateways stop repeating it."""
        if self._fold.acked > self._acked_written and not self._unseen:
            self.change(self.controls)

    def saw(self, record: JournalRecord, verdict: Verdict) -> Sequence[TaskOutput]:
        """Take note of a record of this epoch that was read back; return the outputs that are visible by it, in order.

        Raises:
            DoubtError: It did not come in order, or does not count.
        """
        pub = record.headers.pub
        if pub <= self._seen_pub:
            return []
        if pub != self._seen_pub + 1:
            raise DoubtError(f"publication {self._seen_pub + 1} did not come back before {pub}")
        if verdict not in (Verdict.FOLDED, Verdict.VISIBLE):
            raise DoubtError(f"publication {pub} does not count: {verdict}")
        self._seen_pub = pub
        self._seen_at = self._loop.time()
        publication = self._unseen.pop(pub)
        self._note_snapshot(record)
        if publication.end:
            self._flying_bytes -= publication.size
        if publication.visible is not None:
            publication.visible()
        body = self._bodies.pop(pub, None)
        if body is None:
            return ()
        self._assigned.difference_update(output.task_id for output in body.outputs)
        return body.outputs

    def check(self, now: float) -> None:
        """Raise when nothing has come back for a while although something should: records that come late but come are no doubt.

        Raises:
            DoubtError: The oldest one is overdue.
        """
        oldest = next(iter(self._unseen.values()), None)
        if oldest is not None and now - max(oldest.at, self._seen_at) > self._limits.readback_seconds:
            raise DoubtError(f"a {oldest.kind} record was not read back within {self._limits.readback_seconds:g} s")

    def excuse(self, now: float) -> None:
        """Timers stand still while the broker blocks publishers."""
        for publication in self._unseen.values():
            publication.at = now

    def _note_snapshot(self, record: JournalRecord) -> None:
        """A snapshot that was read back whole, with nothing in flight before it, is a sound place to start reading."""
        if record.headers.kind is not RecordKind.SNAP:
            return
        body = record.body()
        part, parts, upto = getattr(body, "part", 0), getattr(body, "parts", 0), getattr(body, "upto", 0)
        if part == 1:
            self._candidate = record.position if upto == self._fold.next else None
        if part == parts and self._candidate is not None:
            self._scan, self._candidate = self._candidate, None

    def _publish_outputs(self) -> None:
        bundle: list[TaskOutput] = []
        size = 0
        while self._waiting and (not bundle or size + output_bytes(self._waiting[0]) <= _BUNDLE_BYTES):
            output = self._waiting.popleft()
            bundle.append(output)
            size += output_bytes(output)
        self._waiting_bytes -= size
        first = self._next
        self._next += len(bundle)
        body = Outputs(bundle)
        self._bodies[self._publish(RecordKind.OUTS, body, first=first, end=self._next)] = body

    def _publish(self, kind: RecordKind, body: RecordBody, visible: Callable[[], None] | None = None, *, first: int = 0, end: int = 0) -> int:
        self._acked_written = self._fold.acked
        appended = self._writer.append(kind, body, first=first, acked=self._fold.acked, scan=self._scan)
        self._unseen[appended.pub] = _Publication(kind, self._loop.time(), appended.size, end, visible)
        self._since_snapshot += appended.size
        if end:
            self._flying_bytes += appended.size
        appended.confirmed.add_done_callback(self._confirmed)
        return appended.pub

    def _confirmed(self, future: asyncio.Future[None]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._failed(error, self.num)
        else:
            self._progressed()
