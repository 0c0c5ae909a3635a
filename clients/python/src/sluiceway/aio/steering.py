"""What a session's owner can ask of the grid beside sending and fetching."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from sluiceway.aio.calls import ask, get, segment
from sluiceway.codecs import Codec, RawCodec, Value
from sluiceway.errors import GoneError, NotFoundError, SessionClosedError, UnavailableError
from sluiceway.http.transport import Call, Transport, fresh_key, post
from sluiceway.outputs import Output
from sluiceway.records import CancelAnswer, CancelRequest, CloseRequest, PriorityRequest, Problem, SessionDescription, TaskOutputItem

__all__ = ["Steering"]

_CANCEL_AT_ONCE: Final = 10_000
_OPENING_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.0)
_OPENING_SECONDS: Final = 600.0


class Steering:
    """Verbs of an open session.

    Args:
        transport: Carries the calls.
        path: Of the session.
        codec: The session's codec, for common data.
    """

    def __init__(self, *, transport: Transport, path: str, codec: Codec) -> None:
        self._transport = transport
        self._path = path
        self._codec = codec

    async def status(self) -> SessionDescription:
        """Return the session's state, counts of tasks, owner and the grid's own id."""
        return await ask(self._transport, get(self._path), SessionDescription.read)

    async def opened(self) -> SessionDescription:
        """Wait until a bridge has claimed a session that is still pending.

        Raises:
            UnavailableError: None did in ten minutes.
            SessionClosedError: The grid refused the session, or it was closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        begun, pauses = loop.time(), iter(_OPENING_PAUSES)
        while (found := await self.status()).state == "pending":
            if loop.time() - begun > _OPENING_SECONDS:
                raise UnavailableError(_own_problem(503, "session-pending", f"no bridge of {found.cluster} has claimed the session yet"))
            await asyncio.sleep(next(pauses, _OPENING_PAUSES[-1]))
        if found.state in {"closed", "aborted"}:
            raise SessionClosedError(_own_problem(409, f"session-{found.state}", "the session ended before it was open"))
        return found

    async def output(self, task_id: str) -> bytes:
        """Return one successful task's output as bytes, also after it was acknowledged, while the grid's journal holds it.

        Raises:
            NotFoundError: The task has no visible output (yet).
            TaskFailed: The task was unsuccessful.
        """
        item = await ask(self._transport, get(f"{self._path}/outputs/{segment(task_id)}"), TaskOutputItem.read)
        return Output(item, RawCodec()).result()  # type: ignore[no-any-return] # the raw codec's values are bytes

    async def single_output(self, task_id: str) -> TaskOutputItem | None:
        """Return one task's output by its id; None when it has none yet."""
        try:
            return await ask(self._transport, get(f"{self._path}/outputs/{segment(task_id)}"), TaskOutputItem.read)
        except NotFoundError:
            return None

    async def update_common_data(self, value: Value) -> None:
        """Replace the common data (Symphony's session update): tasks sent from now on are run with the new value.

        Raises:
            CodecError: The value does not fit the codec.
        """
        await self.update_common_bytes(self._codec.encode(value))

    async def update_common_bytes(self, data: bytes) -> None:
        """Replace the common data by bytes that no codec touches."""
        call = Call(method="POST", path=f"{self._path}/common-data", body=data, content_type="application/octet-stream", key=fresh_key())
        await self._transport.call(call)

    async def suspend(self) -> None:
        """Start no more tasks; running ones get the session type's grace. Sending and fetching go on."""
        await self._act("suspend")

    async def resume(self) -> None:
        """Start tasks again."""
        await self._act("resume")

    async def _act(self, verb: str) -> None:
        await self._transport.call(Call(method="POST", path=f"{self._path}/{verb}", key=fresh_key()))

    async def set_priority(self, priority: int) -> None:
        """Change the priority among the application's sessions: 1 to 10000, 10000 first."""
        await self._transport.call(post(f"{self._path}/priority", PriorityRequest(priority=priority)))

    async def cancel(self, task_ids: Iterable[str] | None = None, *, tag: str | None = None) -> int:
        """Take tasks back, by ids or all with a tag: each that has not ended ends with ``TaskCancelled``. Returns how many were asked to.

        Raises:
            ValueError: Neither ids nor a tag, or both.
        """
        if (task_ids is None) == (tag is None):
            raise ValueError("name either task ids or a tag")
        if task_ids is None:
            return await self._cancel(CancelRequest(tag=tag))
        ids = tuple(task_ids)
        requested = 0
        for start in range(0, len(ids), _CANCEL_AT_ONCE):
            requested += await self._cancel(CancelRequest(task_ids=ids[start : start + _CANCEL_AT_ONCE]))
        return requested

    async def _cancel(self, request: CancelRequest) -> int:
        return (await ask(self._transport, post(f"{self._path}/tasks/cancel", request), CancelAnswer.read)).requested

    async def _post_close(self, *, detach: bool) -> None:
        flags = "DETACH_ON_CLOSE" if detach else "DESTROY_ON_CLOSE"
        try:
            await self._transport.call(post(f"{self._path}/close", CloseRequest(close_flags=flags)))
        except (SessionClosedError, GoneError, NotFoundError):
            # It is closed, which is what was asked for; perhaps by this very request, whose first answer was lost.
            return


def _own_problem(status: int, code: str, detail: str) -> Problem:
    return Problem(status=status, code=code, title=detail)
