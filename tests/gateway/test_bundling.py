"""How task inputs become messages, against a publisher whose confirms come when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from broker.errors import RejectedError
from gateway.bundling import BUNDLE_BYTES, Bundlers, Part, split
from gateway.metrics import GatewayMetrics
from schemas.ids import SessionId
from schemas.messages import InputHeaders, SubmissionRange, TaskInput, decode_inputs

KEY, FP = bytes(16), bytes(4)
SESSION = SessionId(sid=b"s" * 16, cluster="C", lane=3, grid="G", application="A", principal="P", connection=b"c" * 16, born=None)


class HeldPublisher:
    """Keeps what is published until the test confirms it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, InputHeaders, bytes, asyncio.Future[None]]] = []

    def post(self, *, exchange: str, key: str, body: bytes, headers: Mapping[str, int | str]) -> asyncio.Future[None]:
        """Take one message."""
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((f"{exchange}/{key}", InputHeaders.from_table(headers), body, confirmed))
        return confirmed


@pytest.fixture
def publisher() -> HeldPublisher:
    return HeldPublisher()


@pytest.fixture
def bundlers(publisher: HeldPublisher) -> Bundlers:
    return Bundlers(publisher=publisher, metrics=GatewayMetrics(registry=CollectorRegistry()))  # type: ignore[arg-type]  # only post is called


def _parts(*payloads: bytes, key: bytes = KEY) -> list[Part]:
    return split(key, FP, len(payloads), [(index, TaskInput(payload)) for index, payload in enumerate(payloads)])


async def test_an_idle_lane_is_sent_to_at_once(bundlers: Bundlers, publisher: HeldPublisher) -> None:
    """The first submission waits for nothing."""
    storing = asyncio.create_task(bundlers.store(SESSION, _parts(b"a", b"b")))
    await asyncio.sleep(0)
    ((where, headers, body, confirmed),) = publisher.sent
    assert where == "sw.C/lane.3.in"
    assert headers.ranges == (SubmissionRange(KEY, FP, 2, 0, 2),)
    assert [item.payload for item in decode_inputs(headers, body)] == [b"a", b"b"]
    confirmed.set_result(None)
    assert await storing == [None]


async def test_what_comes_while_a_confirm_is_pending_becomes_one_message(bundlers: Bundlers, publisher: HeldPublisher) -> None:
    """Fifty submissions behind a pending one leave together, in order, each with a range of its own."""
    storing = [asyncio.create_task(bundlers.store(SESSION, _parts(b"%d" % number, key=bytes([number]) * 16))) for number in range(51)]
    await asyncio.sleep(0)
    assert len(publisher.sent) == 1
    publisher.sent[0][3].set_result(None)
    await storing[0]
    assert len(publisher.sent) == 2
    _, headers, body, confirmed = publisher.sent[1]
    assert [run.key[0] for run in headers.ranges] == list(range(1, 51))
    assert [item.payload for item in decode_inputs(headers, body)] == [b"%d" % number for number in range(1, 51)]
    confirmed.set_result(None)
    assert await asyncio.gather(*storing) == [[None]] * 51


async def test_a_refused_message_fails_exactly_its_parts(bundlers: Bundlers, publisher: HeldPublisher) -> None:
    """When the queue refuses one of two messages, the tasks of the other are stored."""
    big = bytes(BUNDLE_BYTES)
    storing = asyncio.create_task(bundlers.store(SESSION, _parts(big, big, big)))
    await asyncio.sleep(0)
    assert len(publisher.sent) == 3
    publisher.sent[0][3].set_result(None)
    publisher.sent[1][3].set_exception(RejectedError("full"))
    publisher.sent[2][3].set_result(None)
    failures = await storing
    assert [type(failure) for failure in failures] == [type(None), RejectedError, type(None)]


def test_parts_stay_below_a_message() -> None:
    """No part of many small tasks is larger than a message, and none is empty."""

    async def cut() -> list[Part]:
        return split(KEY, FP, 1000, [(index, TaskInput(bytes(1024))) for index in range(1000)])

    parts = asyncio.run(cut())
    assert all(0 < part.size <= BUNDLE_BYTES for part in parts)
    assert [part.run.first for part in parts] == [0, *(sum(part.run.count for part in parts[:index]) for index in range(1, len(parts)))]
    assert sum(part.run.count for part in parts) == 1000


async def test_a_task_larger_than_a_message_goes_alone() -> None:
    """Only a single task may make a message larger."""
    parts = _parts(b"small", bytes(2 * BUNDLE_BYTES), b"small")
    assert [part.run.count for part in parts] == [1, 1, 1]


async def test_refused_tasks_leave_holes_in_the_ranges() -> None:
    """Tasks keep the index they have in the request, so a repeated request gives the same ids."""
    parts = split(KEY, FP, 4, [(0, TaskInput(b"a")), (2, TaskInput(b"c")), (3, TaskInput(b"d"))])
    assert [part.run for part in parts] == [SubmissionRange(KEY, FP, 4, 0, 1), SubmissionRange(KEY, FP, 4, 2, 2)]


async def test_headers_fit_one_frame(bundlers: Bundlers, publisher: HeldPublisher) -> None:
    """However many submissions wait, a message's headers stay below AMQP's frame of 128 KiB."""
    storing = [asyncio.create_task(bundlers.store(SESSION, _parts(b"x", key=number.to_bytes(16)))) for number in range(2000)]
    await asyncio.sleep(0)
    while any(not task.done() for task in storing):
        for _, headers, _, confirmed in publisher.sent:
            assert len(str(headers.to_table())) < 100_000
            if not confirmed.done():
                confirmed.set_result(None)
        await asyncio.sleep(0)
    assert 5 <= len(publisher.sent) <= 8
