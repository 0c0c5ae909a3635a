"""Acceptance: a service that does wrong ends in a failed output with Symphony's exception shape, never in a hang."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.services import order
from tests.support.stack import Caller


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (order("failure"), ("FailureException", "service-exception", "FailureException", 42, "the curve has a hole")),
        (order("fatal"), ("FatalException", "service-exception", "FatalException", -7, "no such currency")),
    ],
)
async def test_exceptions_of_a_service_are_embedded(first: Caller, what: bytes, expected: tuple[Any, ...]) -> None:
    """Type, code and message of what the service raised reach the client as the embedded exception."""
    session = await first.start("orders")
    output = (await first.run(session, what))[0]
    exception = output["exception"]
    embedded = exception["embedded"]
    assert output["successful"] is False
    assert "output" not in output
    assert (exception["errorType"], exception["code"], embedded["errorType"], embedded["errorCode"], embedded["message"]) == expected


@pytest.mark.parametrize(
    ("what", "code"),
    [
        (order("bug"), "service-exception"),
        (order("nonsense"), "invalid-output"),
        (order("exit", code=3), "service-exited"),
        (order("crash"), "service-exited"),
        (order("no_such_verb"), "service-exception"),
        (b"not JSON", "service-exception"),
    ],
)
async def test_a_service_that_goes_wrong_fails_its_task_alone(first: Caller, what: bytes, code: str) -> None:
    """A bug, nonsense as output, an exit or a crash fails that task after its retries, and the session goes on."""
    session = await first.start("orders")
    wrong, right = await first.run(session, what, order("echo", text="still fine"))
    assert (wrong["successful"], wrong["exception"]["code"]) == (False, code)
    assert wrong["exception"]["errorType"] in {"FailureException", "FatalException"}
    assert base64.b64decode(right["output"]) == b"still fine"


async def test_a_service_that_hangs_past_the_applications_limit(first: Caller) -> None:
    """``invoke_timeout`` of the profile ends a run that hangs; the next task of the session runs."""
    session = await first.start("impatient", type="once")
    hung, right = await first.run(session, order("hang"), order("echo", text="next"))
    assert (hung["successful"], hung["exception"]["code"]) == (False, "task-timeout")
    assert base64.b64decode(right["output"]) == b"next"


async def test_a_task_that_hangs_past_its_own_limit(first: Caller) -> None:
    """``timeoutInSec`` of a task ends its run although the application would wait for longer."""
    session = await first.start("orders", type="once")
    hung = (await first.run(session, order("hang"), timeoutInSec=0.3))[0]
    assert (hung["successful"], hung["exception"]["code"]) == (False, "task-timeout")


async def test_a_failed_output_by_id_is_told_from_a_good_one(first: Caller, second: Caller) -> None:
    """``getTaskOutput`` of a failed task answers with the exception in JSON and says so in a header."""
    session = await first.start("orders")
    failed = (await first.run(session, order("fatal")))[0]
    got = await second.get(f"/v1/sessions/{session}/outputs/{failed['taskId']}", headers={"Accept": "application/octet-stream"})
    assert (got.status, got.headers["Task-Successful"], got.headers["Content-Type"]) == (200, "false", "application/json")
    assert got.json["exception"] == failed["exception"]
