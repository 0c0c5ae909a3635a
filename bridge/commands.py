"""What gateways may ask of a session's owner: answered when its effect is visible in the journal, so that it survives the owner."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from bridge.epoch import Epoch
from bridge.gridwork import GridWork
from bridge.intake import Intake
from schemas.control import Reply, Request, SessionSummary, Verb
from schemas.records import CancelledTag, SessionControls
from schemas.symphony import CloseFlags

__all__ = ["Commands"]

_MAX_CANCELS: Final = 100_000


class Commands:
    """The live requests of one session.

    Args:
        intake: Knows the tasks that were received.
        grid: Where tasks run.
        answer: Sends a reply to whoever asked.
        summary: Tells what the session is like now.
        start: Runs a coroutine beside the owner, within its life.
        fence: Puts a fence message with this id into the lane.
        close: Begins to close the session.
    """

    def __init__(  # noqa: PLR0913 - the collaborators of the owner's widest part
        self,
        *,
        intake: Intake,
        grid: GridWork,
        answer: Callable[[Request, Reply], None],
        summary: Callable[[], SessionSummary],
        start: Callable[[Coroutine[Any, Any, None]], None],
        fence: Callable[[bytes], Coroutine[Any, Any, None]],
        close: Callable[[CloseFlags], None],
        worker: str,
    ) -> None:
        self._intake = intake
        self._grid = grid
        self._answer = answer
        self._summary = summary
        self._start = start
        self._fence = fence
        self._close = close
        self._worker = worker

    def handle(self, request: Request, epoch: Epoch) -> None:
        """Do what is asked; the reply follows when it is done."""
        match request.verb:
            case Verb.STATUS | Verb.LIST:
                self._reply(request)
            case Verb.SUSPEND | Verb.RESUME:
                self._hold(request, epoch, suspended=request.verb is Verb.SUSPEND)
            case Verb.PRIORITY:
                self._change(request, epoch, msgspec.structs.replace(epoch.controls, priority=request.priority))
                self._start(self._grid.prioritise(request.priority))
            case Verb.CANCEL:
                self._cancel(request, epoch)
            case Verb.CLOSE | Verb.CLOSE_CONNECTION:
                self._end(request, epoch)

    def _hold(self, request: Request, epoch: Epoch, *, suspended: bool) -> None:
        self._start(self._grid.hold(suspended=suspended))
        self._change(request, epoch, msgspec.structs.replace(epoch.controls, suspended=suspended))

    def _cancel(self, request: Request, epoch: Epoch) -> None:
        """Cancel what was received now; ids and tags that still lie in the lane are remembered until they come by."""
        wanted = set(request.task_ids)
        if request.tag:
            wanted.update(self._intake.tagged(request.tag))
        for task in self._grid.withdraw(lambda task: task.task_id in wanted):
            self._intake.cancel(task.task_id)
        running = [task for task in wanted if self._grid.knows(task)]
        self._start(self._grid.cancel(running))
        later = [task for task in request.task_ids if not self._intake.knows(task)]
        controls = epoch.controls
        if len(controls.cancelled_ids) + len(later) > _MAX_CANCELS:
            self._reply(request, code="too-many-requests", detail="too many cancels of tasks that were not delivered yet")
            return
        tags = controls.cancelled_tags
        if request.tag:
            fence = secrets.token_bytes(16)
            tags = [*tags, CancelledTag(request.tag, fence)]
            self._start(self._fence(fence))
        changed = msgspec.structs.replace(controls, cancelled_ids=[*controls.cancelled_ids, *later], cancelled_tags=tags)
        self._change(request, epoch, changed)

    def _end(self, request: Request, epoch: Epoch) -> None:
        flags = CloseFlags(request.close_flags or CloseFlags.DESTROY_ON_CLOSE)
        if flags is CloseFlags.DETACH_ON_CLOSE:
            # Over HTTP nothing is attached: the work goes on until the session is opened again or its retention is over.
            self._reply(request)
            return

        def visible() -> None:
            self._reply(request)
            self._close(flags)

        epoch.change(msgspec.structs.replace(epoch.controls, closing=int(flags)), visible)

    def _change(self, request: Request, epoch: Epoch, controls: SessionControls) -> None:
        epoch.change(controls, lambda: self._reply(request))

    def _reply(self, request: Request, *, code: str = "", detail: str = "") -> None:
        self._answer(request, Reply(id=request.id, worker=self._worker, code=code, detail=detail, sessions=[self._summary()]))
