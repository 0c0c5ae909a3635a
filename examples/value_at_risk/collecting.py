"""Sends the job's tasks to the grid and takes their outputs, with a blow half way; counts every output by its task."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from examples.value_at_risk.blow import Arrival, Blow, Outage
from examples.value_at_risk.wire import decode_losses
from sluiceway.errors import SluicewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.value_at_risk.check import LossLedger
    from sluiceway.blocking.gateway import Gateway
    from sluiceway.blocking.session import Session
    from sluiceway.outputs import Output
    from sluiceway.progress import Progress

__all__ = ["Collection", "Tally"]

_WAIT: Final = 5.0
_PATIENCE: Final = 120.0
_LATE: Final = 0.5


@dataclass(kw_only=True)
class Tally:
    """Which tasks' outputs have come, and how often.

    Args:
        sent: The ids of all tasks.
        ledger: Takes the losses.
        seen: Outputs that came, by task.
        last_sequence: The highest place in the session's outputs that was met.
    """

    sent: frozenset[str]
    ledger: LossLedger
    seen: Counter[str] = field(default_factory=Counter)
    last_sequence: int = 0

    def enter(self, output: Output) -> None:
        """Count one output and put its losses in their places.

        Raises:
            TaskFailed: The task has failed.
            ValueError: The output holds no losses of this job.
        """
        output.result()
        self.ledger.enter(decode_losses(output.payload or b""))
        self.seen[output.task_id] += 1
        self.last_sequence = max(self.last_sequence, output.sequence)

    @property
    def come(self) -> int:
        """Tasks of which an output has come."""
        return len(self.seen.keys() & self.sent)

    @property
    def lost(self) -> int:
        """Tasks of which none has come."""
        return len(self.sent - self.seen.keys())

    @property
    def repeated(self) -> int:
        """Outputs beyond one for each task: those that came, or those that the journal numbers, whichever are more.

        The client drops outputs of tasks that it has seen, so what came would not tell on its own; the journal's numbers do, because
        every output stored takes one.
        """
        return max(self.seen.total(), self.last_sequence) - self.come


class Collection:
    """Takes outputs until every task has one.

    Args:
        gateway: The client.
        session: Where the tasks were sent.
        tally: Counts outputs by task and takes their losses.
        progress: Told of each output.
        strike: Called once, in a thread of its own, when half of the outputs have come.
        watch: Called while no outputs come; raises when there is nothing left that could make some.
    """

    def __init__(
        self,
        *,
        gateway: Gateway,
        session: Session,
        tally: Tally,
        progress: Progress,
        strike: Callable[[], Blow],
        watch: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._session = session
        self._tally = tally
        self._progress = progress
        self._strike = strike
        self._watch = watch
        self._arrivals: list[Arrival] = []

    def run(self) -> tuple[Blow, Outage]:
        """Return when every task has an output, and after a moment more in which surplus ones could come.

        Raises:
            SluicewayError: No output has come for two minutes, nothing is left that could make some, or a task has failed.
        """
        # The blow falls in a thread of its own, so that it hits while a request is under way.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="blow") as pool:
            while self._tally.come * 2 < len(self._tally.sent):
                self._take()
            falling = pool.submit(self._strike)
            while self._tally.lost:
                self._take()
            blow = falling.result()
        self._enter(self._session.next_outputs(wait=_LATE))
        return blow, Outage.of(blow, self._arrivals)

    def _take(self) -> None:
        outputs = self._next()
        newest = max(one.finished_at for one in outputs)
        self._arrivals.append(Arrival(moment=time.monotonic(), address=self._gateway.address, finished_at=newest))
        self._enter(outputs)

    def _next(self) -> list[Output]:
        deadline = time.monotonic() + _PATIENCE
        while not (outputs := self._session.next_outputs(wait=_WAIT)):
            self._watch()
            if time.monotonic() > deadline:
                raise SluicewayError(f"no output has come for {_PATIENCE:.0f} s; {self._tally.lost} tasks have none yet")
        return outputs

    def _enter(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self._tally.enter(output)
        self._progress.finished(len(outputs), 0)
