"""Acceptance: long polls and event streams tell of outputs when they are there, at any gateway."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.support.services import order
from tests.support.stack import Caller


async def test_a_long_poll_wakes_when_an_output_comes(first: Caller, second: Caller, tmp_path: Path) -> None:
    """A poll that waits at one gateway is answered as soon as a task sent through the other is done, not when its time is up."""
    session = await first.start("orders")
    await second.fetch(session, wait=0)
    polls = [asyncio.ensure_future(caller.fetch(session, wait=30)) for caller in (first, second)]
    gate = tmp_path / "gate"
    await first.submit(session, order("gate", gate=str(gate), text="open"))
    await asyncio.wait(polls, timeout=0.3)
    assert not any(poll.done() for poll in polls)
    gate.touch()
    began = time.monotonic()
    answers = await asyncio.gather(*polls)
    assert time.monotonic() - began < 10
    assert [len(answer.json["outputs"]) for answer in answers] == [1, 1]


async def test_a_long_poll_without_outputs_ends_in_its_time(first: Caller) -> None:
    """A poll of a session without outputs is answered, empty, when its wait is over; its cursor is good for the next one."""
    session = await first.start()
    began = time.monotonic()
    empty = await first.fetch(session, wait=0.5)
    assert 0.4 <= time.monotonic() - began < 5
    assert (empty.json["outputs"], empty.json["more"], empty.json["ended"]) == ([], False, False)
    await first.submit(session, b"late")
    assert len((await first.fetch(session, after=empty.json["cursor"], wait=10)).json["outputs"]) == 1


async def test_a_long_poll_ends_when_the_session_is_closed(first: Caller, second: Caller) -> None:
    """A waiting poll hears at once that the session was closed through the other gateway."""
    session = await first.start()
    poll = asyncio.ensure_future(first.fetch(session, wait=30))
    await asyncio.wait([poll], timeout=0.2)
    began = time.monotonic()
    await second.close(session)
    assert (await poll).json["ended"] is True
    assert time.monotonic() - began < 10


def _event(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if line and not line.startswith(":"))


async def _stream_once(caller: Caller, session: str, last: str) -> list[dict[str, str]]:
    """Read a stream until it ends or all is heard."""
    return await _events(caller, session, 12, last=last, exactly=False)


async def _events(caller: Caller, session: str, count: int, *, last: str = "", exactly: bool = True) -> list[dict[str, str]]:
    """Read a stream until it has told of ``count`` outputs."""
    headers = {"Authorization": f"Bearer {caller.secret}", "Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    events: list[dict[str, str]] = []
    heard = 0
    async with asyncio.timeout(30), caller.http.get(f"{caller.base}/v1/sessions/{session}/outputs", headers=headers) as response:
        assert (response.status, response.headers["Content-Type"].split(";")[0]) == (200, "text/event-stream")
        text = ""
        async for chunk in response.content.iter_any():
            *whole, text = (text + chunk.decode()).split("\n\n")
            events += [event for event in map(_event, whole) if "event" in event]
            heard = sum(len(_outputs(event)) for event in events)
            if heard >= count:
                break
    assert heard == count or not exactly
    return events


def _outputs(event: dict[str, str]) -> list[Any]:
    return list(msgspec.json.decode(event["data"])["outputs"])


async def test_an_event_stream_tells_of_outputs_and_goes_on_at_the_other_gateway(first: Caller, second: Caller) -> None:
    """A stream tells of outputs as they come; ``Last-Event-ID`` takes it up at the other gateway without loss or repetition."""
    session = await first.start()
    stream = asyncio.ensure_future(_events(first, session, 3))
    await first.submit(session, b"1", b"2", b"3")
    heard = await stream
    await second.submit(session, b"4", b"5")
    later = await _events(second, session, 2, last=heard[-1]["id"])
    assert {event["event"] for event in heard + later} == {"outputs"}
    assert [output["sequence"] for event in heard + later for output in _outputs(event)] == [1, 2, 3, 4, 5]


async def test_a_stream_of_large_outputs_does_not_stall(first: Caller) -> None:
    """Twelve outputs of 1 MiB come through streams that end and are taken up by ``Last-Event-ID``, as browsers do, without a pause."""
    session = await first.start()
    octets = {"Content-Type": "application/octet-stream"}
    for _ in range(12):
        await first.ask("POST", f"/v1/sessions/{session}/tasks", data=bytes(1 << 20), headers=octets, key=first.key())
    heard: list[int] = []
    last = ""
    async with asyncio.timeout(30):
        while len(heard) < 12:
            for event in await _stream_once(first, session, last):
                heard += [output["sequence"] for output in _outputs(event)]
                last = event["id"]
    assert heard == list(range(1, 13))
