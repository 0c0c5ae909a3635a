"""What an owner does with a message from its lane: look each task up, then attach, publish again, refuse or run it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from bridge.connectors.base import GridTask, Outcome
from bridge.epoch import Epoch
from bridge.gridwork import GridWork
from bridge.holding import Held, Holding
from bridge.outcomes import OutcomeCache
from broker.claims import InputDelivery
from broker.journal.fold import Fold
from runtime.logs import get_logger
from schemas.ids import KEY_HASH_BYTES, task_id_text
from schemas.messages import InputHeaders, InputKind, SubmissionRange, TaskInput, decode_inputs
from schemas.records import CommonData, RecordError, RecordKind, SessionControls, TaskOutput, body_digest
from schemas.symphony import ErrorType, SymphonyException
from schemas.versions import UnknownVersionError

__all__ = ["Intake"]

_Refusal: TypeAlias = Callable[[bytes, str], Outcome | None]

_PER_TASK: Final = 400
"""Bytes that a task takes here beside its payload."""

_REUSED: Final = "idempotency-key-reused"

_log = get_logger(__name__)


class Intake:
    """The inputs of one session. It outlives epochs: ``begin`` looks everything held through again.

    Args:
        sid: The session's nonce.
        initial: Key and fingerprint of the common data that came with the claim: the grid session opens with it.
        holding: Deliveries held.
        grid: Where tasks run.
        cache: Outcomes in hand.
        bury: Sends a copy of what cannot be decoded to the dead letters, confirmed, then calls back.
        clock: Seconds since the epoch, UTC.
    """

    def __init__(  # noqa: PLR0913 - what a lane's messages touch
        self,
        *,
        sid: bytes,
        initial: bytes,
        holding: Holding,
        grid: GridWork,
        cache: OutcomeCache,
        bury: Callable[[InputDelivery, Callable[[], None]], None],
        clock: Callable[[], float],
    ) -> None:
        self._sid = sid
        self._initial = initial
        self._holding = holding
        self._grid = grid
        self._cache = cache
        self._bury = bury
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._fold = Fold(sid)
        self._epoch: Epoch | None = None
        self._tags: dict[bytes, tuple[int, str]] = {}
        self._keys: dict[bytes, bytes] = {}
        """The fingerprint that came first with each key, until the journal shows it."""
        self._in_hand: dict[bytes, TaskOutput] = {}
        """What was in hand when the epoch began; while there is any, each task is looked up."""
        self._leftovers: list[Held] = []
        self._clearing = False

    def begin(self, fold: Fold, epoch: Epoch) -> bool:
        """Go on in a new epoch: what is done, running or in hand is attached to.

        Returns:
            False when the input of a task that has to run again is no longer in memory: the channel has to be closed, so that the broker
            delivers it anew.
        """
        self._fold, self._epoch = fold, epoch
        self._leftovers.clear()
        self._clearing = False
        self._in_hand = self._cache.take()
        self._tags = {task: what for task, what in self._tags.items() if fold.done is None or fold.done.number(task) is None}
        complete = True
        for held in self._holding.restart():
            if held.again is not None:
                held.again()
                continue
            for task, _ in held.task_ids():
                complete = self._attach(held, task) and complete
            self._holding.settle(held, self._loop.time())
        return complete

    def take(self, delivery: InputDelivery) -> int:
        """Take a message from the lane; return the bytes that it takes in memory, roughly."""
        weight = len(delivery.body)
        try:
            headers = InputHeaders.from_table(delivery.headers)
        except (RecordError, UnknownVersionError) as exc:
            _log.error("unreadable input", error=str(exc), message_id=delivery.message_id)
            self._keep_leftover(delivery, dead=True)
            return weight
        if headers.sid != self._sid:
            self._keep_leftover(delivery, dead=False)
            return weight
        match headers.kind:
            case InputKind.COMMON:
                self._common(headers, delivery)
            case InputKind.FENCE:
                self._fence(headers, delivery)
            case InputKind.INPUTS:
                self._inputs(headers, delivery)
                weight += headers.count * _PER_TASK
        return weight

    def finished(self, outcome: Outcome) -> None:
        """Take an outcome from the grid: it gets its number here or not at all."""
        of, tag = self._tags.pop(outcome.task_id, (0, ""))
        if of and self._epoch is not None:
            self._epoch.assign(TaskOutput(outcome.task_id, of, tag, outcome.finished_at, outcome.payload, outcome.exception))

    def visible(self, outputs: Sequence[TaskOutput], first: int, size: int) -> None:
        """Take note that outputs are visible, from the number ``first`` on, in a record of ``size`` bytes."""
        now = self._loop.time()
        self._cache.keep(outputs, size)
        for number, output in enumerate(outputs, first):
            self._keys.pop(output.task_id[:KEY_HASH_BYTES], None)
            self._holding.visible(output.task_id, number, now)

    def cancel(self, task: bytes) -> bool:
        """Give a cancelled outcome to a task that was received and not handed to the grid. False: it was not waiting here."""
        if task not in self._tags:
            return False
        self.finished(_failure(task, self._clock(), ErrorType.CANCELLED, "cancelled", "the task was cancelled before it ran"))
        return True

    def knows(self, task: bytes) -> bool:
        """Whether the task was received here or has a visible output."""
        return task in self._tags or self._holding.waits_for(task) or (self._fold.done is not None and self._fold.done.number(task) is not None)

    def tagged(self, tag: str) -> list[bytes]:
        """Return the tasks with this tag that have no outcome yet."""
        return [task for task, (_, own) in self._tags.items() if own == tag]

    def _inputs(self, headers: InputHeaders, delivery: InputDelivery) -> None:
        held = Held(tag=delivery.tag, ranges=headers.ranges)
        try:
            inputs = decode_inputs(headers, delivery.body)
        except RecordError as exc:
            _log.error("input bundle cannot be read", error=str(exc), message_id=delivery.message_id)
            self._fail_all(delivery, held, str(exc))
            return
        self._holding.add(held)
        begin = 0
        for run in headers.ranges:
            self._take_run(held, run, inputs[begin : begin + run.count])
            begin += run.count
        self._holding.settle(held, self._loop.time())
        self._grid.wake()

    def _take_run(self, held: Held, run: SubmissionRange, inputs: list[TaskInput]) -> None:
        """Look the submission up once; only where something is known of its key, each task."""
        refusal = self._refusal(run)
        new = not self._in_hand and not self._knows_key(run)
        self._keys.setdefault(run.key, run.fp)
        prefix = run.key + run.fp
        for index, task_input in enumerate(inputs, run.first):
            task = prefix + index.to_bytes(4)
            if new or not self._attach(held, task):
                self._start(held, task, run.of, task_input, refusal)

    def _knows_key(self, run: SubmissionRange) -> bool:
        return run.key in self._keys or (self._fold.done is not None and self._fold.done.knows(run.key, run.fp))

    def _attach(self, held: Held, task: bytes) -> bool:
        """Attach a delivery to a task that is done, known or running. False: the task has to be started."""
        number = self._fold.done.number(task) if self._fold.done is not None else None
        if number is not None:
            held.high = max(held.high, number)
            return True
        if self._holding.waits_for(task) or task in self._tags:
            self._holding.wait(held, task)
            return True
        known = self._in_hand.get(task)
        if known is None or self._epoch is None:
            return False
        self._holding.wait(held, task)
        self._epoch.assign(known)
        return True

    def _start(self, held: Held, task: bytes, of: int, task_input: TaskInput, refusal: _Refusal | None) -> None:
        self._holding.wait(held, task)
        self._tags[task] = (of, task_input.tag)
        reason = refusal(task, task_input.tag) if refusal is not None else None
        if reason is not None:
            self.finished(reason)
            return
        self._grid.offer(GridTask(task, task_input.payload, task_input.tag, task_input.priority, task_input.timeout))

    def _refusal(self, run: SubmissionRange) -> _Refusal | None:
        """What keeps tasks of this submission from running, if anything does: most have nothing."""
        done = self._fold.done
        if self._keys.get(run.key, run.fp) != run.fp or (done is not None and done.other_fingerprint(run.key, run.fp)):
            reused = "the Idempotency-Key was used before with another body"
            return lambda task, _: _failure(task, self._clock(), ErrorType.FAILURE, _REUSED, reused)
        controls = self._controls()
        if not controls.cancelled_ids and not controls.cancelled_tags:
            return None
        ids, tags = set(controls.cancelled_ids), {one.tag for one in controls.cancelled_tags}
        gone = "the task was cancelled before it ran"
        return lambda task, tag: _failure(task, self._clock(), ErrorType.CANCELLED, "cancelled", gone) if task in ids or (tag and tag in tags) else None

    def _controls(self) -> SessionControls:
        return self._epoch.controls if self._epoch is not None else self._fold.controls

    def _fail_all(self, delivery: InputDelivery, held: Held, reason: str) -> None:
        """A bundle that cannot be read still ends in one output per task; its bytes go to the dead letters first."""
        held.gate = True
        self._holding.add(held)
        now = self._clock()
        for task, of in held.task_ids():
            if not self._attach(held, task):
                self._holding.wait(held, task)
                self._tags[task] = (of, "")
                self.finished(_failure(task, now, ErrorType.FATAL, "invalid-input", reason))
        self._bury(delivery, lambda: self._holding.unlock(held, self._loop.time()))

    def _keep_leftover(self, delivery: InputDelivery, *, dead: bool) -> None:
        """A message of another session, or of nobody: it goes only when an own record published later has shown who owns the lane."""
        held = Held(tag=delivery.tag)
        held.again = lambda: self._await_any_record(held)
        held.gate = dead
        self._holding.add(held)
        self._await_any_record(held)
        if dead:
            self._bury(delivery, lambda: self._holding.unlock(held, self._loop.time()))

    def _await_any_record(self, held: Held) -> None:
        self._holding.expect(held)
        self._leftovers.append(held)
        self._clear_leftovers()

    def _clear_leftovers(self) -> None:
        """Publish one record for all leftovers that are here by now; those that come later wait for the next one."""
        if self._clearing or not self._leftovers or self._epoch is None:
            return
        batch, self._leftovers = self._leftovers, []
        self._clearing = True

        def seen() -> None:
            for held in batch:
                self._holding.justified(held, self._loop.time())
            self._clearing = False
            self._clear_leftovers()

        self._epoch.change(self._epoch.controls, seen)

    def _common(self, headers: InputHeaders, delivery: InputDelivery) -> None:
        """New common data: the grid gets it in order with the tasks, the journal keeps it for successors."""
        held = Held(tag=delivery.tag)
        held.again = lambda: self._write_common(headers, delivery.body, held)
        self._holding.add(held)
        self._write_common(headers, delivery.body, held)

    def _write_common(self, headers: InputHeaders, data: bytes, held: Held) -> None:
        key = headers.ranges[0].key + headers.ranges[0].fp
        if self._epoch is None or key == self._fold.common_key or body_digest(data) != headers.digest:
            self._await_any_record(held)
            return
        self._holding.expect(held)
        if key != self._initial:
            self._grid.offer_common_data(data)
        self._epoch.publish(RecordKind.COMMON, CommonData(key=key, data=data), lambda: self._holding.justified(held, self._loop.time()))

    def _fence(self, headers: InputHeaders, delivery: InputDelivery) -> None:
        """A cancel by tag ends here: later tasks with the tag run."""
        held = Held(tag=delivery.tag)
        held.again = lambda: self._lift(headers.ranges[0].key, held)
        self._holding.add(held)
        self._lift(headers.ranges[0].key, held)

    def _lift(self, fence: bytes, held: Held) -> None:
        self._holding.expect(held)
        if self._epoch is None:
            return
        controls = self._epoch.controls
        left = [one for one in controls.cancelled_tags if one.fence != fence]
        changed = msgspec.structs.replace(controls, cancelled_tags=left)
        self._epoch.change(changed, lambda: self._holding.justified(held, self._loop.time()))


def _failure(task: bytes, now: float, kind: ErrorType, code: str, message: str) -> Outcome:
    _log.info("task ends without a run", task=task_id_text(task), code=code)
    return Outcome(task, None, SymphonyException(error_type=kind.value, code=code, message=message), now)
