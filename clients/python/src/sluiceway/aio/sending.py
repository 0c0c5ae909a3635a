"""Sends task inputs in bulk: cut to size, several requests at once, each repeatable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from sluiceway.errors import InvalidRequestError, ProtocolError, SubmissionError
from sluiceway.fields import UnreadableError
from sluiceway.http.transport import Transport, fresh_key, post
from sluiceway.records import ItemError, SubmitAnswer, SubmitRequest, SubmittedTask, TaskSubmission
from sluiceway.tasks import BulkLimits, split

__all__ = ["Sender"]


class Sender:
    """The way of task inputs into one session.

    Args:
        transport: Carries the calls.
        path: Of the session.
        limits: Of one request, and of requests at once.
    """

    def __init__(self, *, transport: Transport, path: str, limits: BulkLimits) -> None:
        self._transport = transport
        self._path = f"{path}/tasks"
        self.limits = limits

    async def post(self, tasks: Sequence[TaskSubmission], *, key: str) -> list[SubmittedTask]:
        """Send one request; returns one item for each task, in order.

        A request that is too large for the gateway is cut in two, and so on; the parts' keys follow from ``key``.

        Raises:
            SluicewayError: As ``Transport.call``.
        """
        try:
            answer = await self._transport.call(post(self._path, SubmitRequest(tasks=tuple(tasks)), key=key))
        except InvalidRequestError as exc:
            if exc.code != "body-too-large" or len(tasks) == 1:
                raise
            half = len(tasks) // 2
            return [*await self.post(tasks[:half], key=f"{key}.0"), *await self.post(tasks[half:], key=f"{key}.1")]
        try:
            items = SubmitAnswer.read(answer.value()).tasks
        except UnreadableError as exc:
            raise ProtocolError(str(exc)) from exc
        if len(items) != len(tasks):
            raise ProtocolError(f"{len(tasks)} task inputs were sent, {len(items)} were answered")
        return list(items)

    async def send(self, tasks: Sequence[TaskSubmission], *, key: str | None = None, sent: Callable[[int], None] | None = None) -> list[str]:
        """Send any number of tasks; returns their ids, in order.

        Args:
            tasks: The inputs, encoded.
            key: Names this submission: whoever repeats it with the same key, inputs and limits gets the same ids, also after a crash.
            sent: Told of each request's tasks once they are stored.

        Raises:
            SubmissionError: Some inputs were not taken; its ``task_ids`` tell which were. The cause is the first failed request, if any.
            SluicewayError: Nothing was taken.
        """
        base = key or fresh_key()
        chunks = list(split(tasks, self.limits))
        gate = asyncio.Semaphore(self.limits.requests)

        async def one(place: int, chunk: Sequence[TaskSubmission]) -> list[SubmittedTask] | Exception:
            async with gate:
                try:
                    items = await self.post(chunk, key=base if len(chunks) == 1 else f"{base}-{place}")
                except Exception as exc:  # noqa: BLE001 - kept, and raised with what the other requests achieved
                    return exc
            if sent is not None:
                sent(sum(1 for item in items if item.task_id))
            return items

        results = await asyncio.gather(*(one(place, chunk) for place, chunk in enumerate(chunks)))
        return _ids(chunks, results)


def _ids(chunks: Sequence[Sequence[TaskSubmission]], results: Sequence[list[SubmittedTask] | Exception]) -> list[str]:
    """Return the ids in order, or raise what stands in their way."""
    failures = [one for one in results if isinstance(one, Exception)]
    if failures and len(failures) == len(results):
        raise failures[0]
    ids: list[str | None] = []
    refusals: dict[int, ItemError] = {}
    for chunk, result in zip(chunks, results, strict=True):
        if isinstance(result, Exception):
            ids.extend(None for _ in chunk)
            continue
        for item in result:
            if item.error is not None:
                refusals[len(ids)] = item.error
            ids.append(item.task_id or None)
    whole = [one for one in ids if one is not None]
    if len(whole) < len(ids):
        raise SubmissionError(ids, refusals) from (failures[0] if failures else None)
    return whole
