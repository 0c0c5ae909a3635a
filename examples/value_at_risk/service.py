"""The service that runs on the grid: losses of the session's book in a range of historical days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from bridge.services import FatalException, Service, SessionContext, TaskContext
from examples.value_at_risk.wire import decode_job, decode_range, encode_losses

if TYPE_CHECKING:
    from examples.value_at_risk.revaluation import Revaluation

__all__ = ["ValueAtRisk"]


class ValueAtRisk(Service):
    """Prices the book once per historical day; configured as ``examples.value_at_risk.service:ValueAtRisk``.

    Common data is a job (`wire.encode_job`), a task's input a range of scenarios (`wire.encode_range`), its output their losses
    (`wire.decode_losses`). Bad input fails as fatal: a retry would meet the same bytes.
    """

    def __init__(self) -> None:
        self._revaluation: Revaluation | None = None

    @override
    def session_enter(self, session: SessionContext) -> None:
        """Decode the book and the history, once for all tasks of the session.

        Raises:
            FatalException: The session has no common data, or other data than a job.
        """
        self._revaluation = _prepare(session)

    @override
    def invoke(self, task: TaskContext) -> bytes:
        """Return the losses of the range of scenarios that the task names.

        Raises:
            FatalException: The input is not a range, or not one of the history, or the session has no job.
        """
        if self._revaluation is None:
            raise FatalException("the session has no job to compute with")
        try:
            first, count = decode_range(task.payload)
            values = self._revaluation.losses(first=first, count=count)
        except ValueError as exc:
            raise FatalException(f"the task's input cannot be computed: {exc}") from exc
        return encode_losses(first=first, values=values)

    @override
    def session_leave(self) -> None:
        """Let go of the session's data."""
        self._revaluation = None


def _prepare(session: SessionContext) -> Revaluation:
    if session.common_data is None:
        raise FatalException("the session needs common data: a book and a price history")
    try:
        return decode_job(session.common_data).revaluation()
    except ValueError as exc:
        raise FatalException(f"the session's common data cannot be used: {exc}") from exc
