"""The ping service does what its input asks for."""

from __future__ import annotations

import time

import msgspec
import pytest

from bridge.services import FatalException, SessionContext, TaskContext
from examples.ping.service import MARK, Ping, PingInput
from sluiceway.cli.ping import PingPlan


def _invoke(payload: bytes) -> bytes:
    service = Ping()
    service.create()
    return service.invoke(TaskContext(session=SessionContext(session_id="00"), task_id="01", payload=payload))


def test_other_inputs_come_back() -> None:
    """What does not begin with the mark is echoed."""
    assert _invoke(b"anything") == b"anything"
    assert _invoke(b"") == b""


def test_it_waits_and_answers_with_so_many_bytes() -> None:
    """The program's own inputs are understood: so long a pause, so many bytes."""
    began = time.monotonic()
    assert _invoke(PingPlan(tasks=1, input_bytes=200, output_bytes=77, sleep_ms=20, under_way=1).payload()) == bytes(77)
    assert time.monotonic() - began >= 0.02


@pytest.mark.parametrize(
    "payload", [MARK + b"\xff", MARK + msgspec.msgpack.encode(PingInput(output_bytes=-1)), MARK + msgspec.msgpack.encode(PingInput(fail="no"))]
)
def test_what_cannot_be_done_fails_for_good(payload: bytes) -> None:
    """A broken input, an impossible size or the wish to fail end the task without another run."""
    with pytest.raises(FatalException):
        _invoke(payload)
