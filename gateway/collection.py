"""The operations that hand out outputs: fetchTaskOutput, also as a stream of events, and getTaskOutput."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator
from typing import Final

from broker.journal.follower import CursorExpiredError, Follower, follow
from broker.link import Broker
from gateway.call import Answer, Call, Streaming
from gateway.codec import encode
from gateway.identities import Identities
from gateway.media import EVENTS, JSON, OCTETS
from gateway.polling import Page, Poll, Polling
from gateway.problems import ProblemError
from gateway.readers import Readers
from gateway.reading import Numbered
from gateway.settings import Limits
from schemas.cursors import START, Cursor
from schemas.http import COUNT_DEFAULT, COUNT_MAX, FetchAnswer, TaskOutputItem
from schemas.ids import Position, SessionId, task_id_from_text, task_id_text
from schemas.records import TaskOutput

__all__ = ["Collection"]

_PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])")
_HEARTBEAT_SECONDS: Final = 15.0
_STREAM_SECONDS: Final = 60.0
_BASE64_GROWTH: Final = 4 / 3
_QUIET_SECONDS: Final = 0.5
_SEARCH_SECONDS: Final = 4.5


class Collection:
    """Hands out outputs. A fetch takes nothing away; coming back with the cursor acknowledges.

    Args:
        polling: Answers polls.
        readers: Where outputs may lie in memory already.
        identities: Opens and seals ids and cursors.
        broker: Where journals are searched for single outputs.
        limits: Bounds.
    """

    def __init__(self, *, polling: Polling, readers: Readers, identities: Identities, broker: Broker, limits: Limits) -> None:
        self._polling = polling
        self._readers = readers
        self._identities = identities
        self._broker = broker
        self._limits = limits

    async def fetch(self, call: Call) -> Answer | Streaming:
        """Answer with the outputs after a cursor, at once or after a wait."""
        session = self._identities.session(call.principal, call.path["sessionId"])
        if call.accept == EVENTS:
            return await self._stream(call, session)
        poll = Poll(
            session=session,
            cursor=self._identities.cursor(session, call.query.get("after", "")),
            count=_count(call),
            limit=self._limit(call.accept),
            until=asyncio.get_running_loop().time() + _wait(call, self._limits.wait_seconds),
        )
        page = await self._polling.poll(poll)
        headers = {"Vary": "Accept, Authorization"}
        if "wait=" in call.header("prefer"):
            headers["Preference-Applied"] = "wait"
        return Answer(body=self._answer(session, page), headers=headers, tasks=len(page.outputs))

    async def get_output(self, call: Call) -> Answer:
        """Answer with one output as bytes, or with what went wrong with its task."""
        session = self._identities.session(call.principal, call.path["sessionId"])
        try:
            wanted = task_id_from_text(call.path["taskId"])
        except ValueError as exc:
            raise ProblemError("unknown-task") from exc
        found = self._in_memory(session, wanted) or await self._in_journal(session, wanted)
        if found is None:
            raise ProblemError("unknown-task", "it is not finished, or its output was acknowledged and is no longer kept")
        headers = {"Task-Successful": str(found.output.exception is None).lower(), "Task-Sequence": str(found.number), "Task-Tag": found.output.tag}
        if call.accept == OCTETS and found.output.exception is None:
            return Answer(body=found.output.payload or b"", content_type=OCTETS, headers=headers, tasks=1)
        item, media = _item(found), JSON if call.accept == OCTETS else call.accept
        return Answer(body=encode(item, media), content_type=media, headers=headers, tasks=1)

    async def _stream(self, call: Call, session: SessionId) -> Streaming:
        cursor = self._identities.cursor(session, call.header("last-event-id") or call.query.get("after", ""))
        poll = Poll(session=session, cursor=cursor, count=_count(call), limit=self._limit(JSON), until=0)
        # The first poll shows whether there is anything to stream; later ones cannot be answered with a problem any more.
        first = await self._polling.poll(poll)
        return Streaming(content_type=EVENTS, parts=lambda: self._events(poll, first))

    async def _events(self, poll: Poll, page: Page) -> AsyncGenerator[bytes, None]:
        """Yield events. A stream ends after a minute or half of what is read ahead: the browser comes back with Last-Event-ID, which acknowledges.

        Nothing is acknowledged while a stream lasts, so its reader lets go of nothing and would stop when its room is full.
        """
        loop = asyncio.get_running_loop()
        end, sent, most = loop.time() + _STREAM_SECONDS, 0, self._limits.session_reader_bytes // 2
        yield b"retry: 100\n\n"
        while True:
            if page.outputs or page.ended:
                event = self._event(poll.session, page)
                sent += len(event)
                yield event
            else:
                yield b": still here\n\n"
            if page.ended or sent > most or loop.time() >= end:
                return
            until = min(loop.time() + _HEARTBEAT_SECONDS, end)
            page = await self._polling.poll(Poll(session=poll.session, cursor=page.cursor, count=poll.count, limit=poll.limit, until=until, acknowledge=False))

    def _event(self, session: SessionId, page: Page) -> bytes:
        answer = self._answer(session, page)
        name = b"ended" if page.ended else b"outputs"
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (answer.cursor.encode(), name, encode(answer, JSON))

    def _answer(self, session: SessionId, page: Page) -> FetchAnswer:
        return FetchAnswer(
            outputs=[_item(output) for output in page.outputs],
            cursor=self._identities.seal_cursor(session, page.cursor),
            more=page.more,
            ended=page.ended,
            rewound=page.rewound,
        )

    def _limit(self, media: str) -> int:
        """Base64 makes payloads a third longer."""
        return int(self._limits.answer_bytes / (_BASE64_GROWTH if media == JSON else 1))

    def _in_memory(self, session: SessionId, wanted: bytes) -> Numbered | None:
        return next((found for reader in self._readers.of(session) if (found := reader.find(wanted)) is not None), None)

    async def _in_journal(self, session: SessionId, wanted: bytes) -> Numbered | None:
        try:
            try:
                return await self._search(session, START, wanted)
            except CursorExpiredError:
                # The beginning was trimmed. A cursor of an epoch that never was is rebased to the first output that is not acknowledged.
                return await self._search(session, Cursor(num=-1, next=1 << 60, at=Position(0, "")), wanted)
        except CursorExpiredError:
            return None
        except TimeoutError as exc:
            raise ProblemError("owner-unavailable", "the session's journal could not be read to its end in time") from exc

    async def _search(self, session: SessionId, cursor: Cursor, wanted: bytes) -> Numbered | None:
        async with asyncio.timeout(_SEARCH_SECONDS), follow(self._broker, session, cursor) as follower:
            return await _scan(follower, wanted)


async def _scan(follower: Follower, wanted: bytes) -> Numbered | None:
    """Read until the output is found, the session has ended, or nothing more comes."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        news = await follower.read(_QUIET_SECONDS)
        for record in news:
            for number, output in enumerate(record.outputs, record.first):
                if output.task_id == wanted:
                    return Numbered(number, output, record)
        if not news and (follower.fold.ended or loop.time() - began >= _QUIET_SECONDS * 0.9):
            return None


def _item(numbered: Numbered) -> TaskOutputItem:
    output: TaskOutput = numbered.output
    if output.exception is None:
        return TaskOutputItem(
            task_id=task_id_text(output.task_id),
            sequence=numbered.number,
            successful=True,
            tag=output.tag,
            output=output.payload or b"",
            finished_at=output.finished_at,
        )
    return TaskOutputItem(
        task_id=task_id_text(output.task_id),
        sequence=numbered.number,
        successful=False,
        tag=output.tag,
        exception=output.exception,
        finished_at=output.finished_at,
    )


def _count(call: Call) -> int:
    text = call.query.get("countMax")
    if text is None:
        return COUNT_DEFAULT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= COUNT_MAX or len(text) > len("10000"):
        raise ProblemError("invalid-parameter", f"countMax must be 1 to {COUNT_MAX}")
    return int(text)


def _wait(call: Call, most: float) -> float:
    """Return the seconds to wait: the parameter ``wait``, else ``Prefer: wait=`` (RFC 7240, 4.3); more than the limit counts as the limit."""
    text = call.query.get("wait")
    if text is None:
        preferred = _PREFER_WAIT.search(call.header("prefer"))
        return min(float(preferred[1]), most) if preferred else 0.0
    try:
        seconds = float(text)
    except ValueError as exc:
        raise ProblemError("invalid-parameter", "wait must be a number of seconds") from exc
    if not math.isfinite(seconds) or seconds < 0:
        raise ProblemError("invalid-parameter", "wait must be 0 or more seconds")
    return min(seconds, most)
