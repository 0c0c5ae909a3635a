"""The operation sendTaskInput: one or many task inputs, stored durably before they are answered, each with its own outcome."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import UNSET

from broker.errors import BrokerError, BrokerUnavailableError, RejectedError, UnroutableError
from gateway.bundling import Bundlers, Part, split
from gateway.call import Answer, Call
from gateway.codec import decode
from gateway.identities import Identities
from gateway.lifecycle import Lifecycle
from gateway.media import OCTETS
from gateway.problems import ProblemError
from gateway.remembering import KeyMemory
from schemas.http import ItemError, SubmitAnswer, SubmitRequest, SubmittedTask, TaskSubmission
from schemas.ids import fingerprint, key_hash, task_id, task_id_text
from schemas.messages import TaskInput
from schemas.problems import PROBLEMS
from schemas.symphony import VocabularyError, check_priority, check_task_tag

__all__ = ["Submission"]

_FINGERPRINTED: Final = ("task-tag", "task-priority", "task-timeout")
"""Headers that make an octet-stream submission what it is."""

_TIMEOUT_MAX: Final = 7 * 24 * 3600.0


class Submission:
    """Stores task inputs.

    Args:
        identities: Opens session ids.
        lifecycle: Knows whether the session takes inputs.
        bundlers: Publish.
        task_bytes: The largest task input.
    """

    def __init__(self, *, identities: Identities, lifecycle: Lifecycle, bundlers: Bundlers, task_bytes: int) -> None:
        self._identities = identities
        self._lifecycle = lifecycle
        self._bundlers = bundlers
        self._task_bytes = task_bytes
        self._keys = KeyMemory()

    async def send(self, call: Call) -> Answer:
        """Store the inputs of one request.

        The ids are made of the key, the body and the position, so a repeated request gets the same ids and no second execution.
        """
        session = self._identities.session(call.principal, call.path["sessionId"])
        items = self._read(call)
        key = key_hash(session.sid, call.header("idempotency-key"))
        fp = fingerprint(call.content_type.encode(), *(call.header(name).encode() for name in _FINGERPRINTED), call.body)
        good = [(index, item) for index, item in enumerate(items) if isinstance(item, TaskInput)]
        if not good:
            first = next(item for item in items if isinstance(item, ItemError))
            raise ProblemError(first.code, first.detail)
        self._keys.check(key, fp)
        await self._lifecycle.require_open(session)
        parts = split(key, fp, len(items), good)
        failures = await self._bundlers.store(session, parts)
        _refuse_if_nothing_stored(failures)
        tasks = _answers(items, parts, failures)
        return Answer(status=202, body=SubmitAnswer(tasks=tasks), tasks=sum(task.error is None for task in tasks))

    def _read(self, call: Call) -> list[TaskInput | ItemError]:
        if call.content_type == OCTETS:
            return [self._check(_from_headers(call))]
        return [self._check(task) for task in decode(call.body, call.content_type, SubmitRequest).tasks]

    def _check(self, task: TaskSubmission) -> TaskInput | ItemError:
        if len(task.task_input) > self._task_bytes:
            return ItemError(code="task-too-large", detail=f"at most {self._task_bytes} bytes")
        try:
            if task.tag:
                check_task_tag(task.tag)
            priority = None if task.task_priority is UNSET else check_priority(task.task_priority)
        except VocabularyError as exc:
            return ItemError(code="invalid-attribute", detail=str(exc))
        if task.timeout_in_sec is UNSET:
            return TaskInput(task.task_input, task.tag, priority)
        if not math.isfinite(task.timeout_in_sec) or not 0 < task.timeout_in_sec <= _TIMEOUT_MAX:
            return ItemError(code="invalid-attribute", detail=f"timeoutInSec: must be above 0 and at most {_TIMEOUT_MAX:g}")
        return TaskInput(task.task_input, task.tag, priority, task.timeout_in_sec)


def _from_headers(call: Call) -> TaskSubmission:
    """Read the attributes of an octet-stream submission.

    Raises:
        ProblemError: ``invalid-parameter``.
    """
    priority, timeout = call.header("task-priority"), call.header("task-timeout")
    try:
        return TaskSubmission(
            task_input=call.body,
            tag=call.header("task-tag"),
            task_priority=int(priority[:9]) if priority else UNSET,
            timeout_in_sec=float(timeout) if timeout else UNSET,
        )
    except ValueError as exc:
        raise ProblemError("invalid-parameter", "Task-Priority is a whole number, Task-Timeout a number of seconds") from exc


def _code(failure: BrokerError) -> str:
    match failure:
        case RejectedError():
            return "quota-exceeded"
        case UnroutableError():
            return "grid-unavailable"
        case BrokerUnavailableError():
            return "broker-unavailable"
        case _:
            return "submission-unknown"


def _refuse_if_nothing_stored(failures: Sequence[BrokerError | None]) -> None:
    """C3: with any part stored the answer is 202; else 429 when all were refused, and 503 when anything may or may not be stored."""
    codes = {_code(failure) for failure in failures if failure is not None}
    if None in failures:
        return
    raise ProblemError(codes.pop() if len(codes) == 1 else "submission-unknown")


def _answers(items: Sequence[TaskInput | ItemError], parts: Sequence[Part], failures: Sequence[BrokerError | None]) -> list[SubmittedTask]:
    tasks = [SubmittedTask(error=item) if isinstance(item, ItemError) else None for item in items]
    for part, failure in zip(parts, failures, strict=True):
        run = part.run
        error = None if failure is None else ItemError(code=_code(failure), detail=PROBLEMS[_code(failure)].title)
        for index in range(run.first, run.first + run.count):
            tasks[index] = SubmittedTask(task_id=task_id_text(task_id(run.key, run.fp, index)), error=error)
    return [task for task in tasks if task is not None]
