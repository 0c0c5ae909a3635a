"""Acceptance: schemathesis reads a running gateway's ``/openapi.json`` and asks for everything in it, well and badly; no answer breaks the document."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from sluiceway.stack import Stack
from tests.support.eventually import eventually
from tests.support.stack import Caller

_SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
_SECONDS = 100.0


def _configuration(stack: Stack, caller: Caller, connection: str, session: str) -> str:
    """Return schemathesis' configuration: mostly ids that exist, so that requests get behind the door. 503 is an answer that the document promises."""
    return f"""
headers = {{ Authorization = "Bearer {caller.secret}" }}
tls-verify = {json.dumps(str(stack.ca_file))}
request-timeout = 30
max-redirects = 0
[dictionaries]
connections = {{ values = [{json.dumps(connection)}] }}
sessions = {{ values = [{json.dumps(session)}] }}
[parameters]
"path.connectionId" = {{ dictionary = "connections", probability = 0.8 }}
"path.sessionId" = {{ dictionary = "sessions", probability = 0.8 }}
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
"""


@pytest.mark.parametrize(
    ("operations", "phases"), [("^(?!close)", "examples,coverage,fuzzing"), ("^close", "examples,fuzzing")], ids=["all but closing", "closing"]
)
async def test_no_answer_breaks_the_document(stack: Stack, first: Caller, tmp_path: Path, operations: str, phases: str) -> None:
    """Hundreds of generated requests: no server error, and every answer is one that ``/openapi.json`` describes."""
    connection = await first.connect()
    session = str((await first.create(connection)).json["sessionId"])
    (tmp_path / "configuration.toml").write_text(_configuration(stack, first, connection, session), encoding="utf-8")
    command = ["--config-file", "configuration.toml", "run", f"{first.base}/openapi.json", "--include-operation-id-regex", operations]
    bounds = ["--phases", phases, "--max-examples", "6", "--generation-deterministic"]
    process = await asyncio.create_subprocess_exec(
        _SCHEMATHESIS,
        *command,
        *bounds,
        "--checks",
        ",".join(_CHECKS),
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, said.decode()[-8000:]
    await eventually(lambda: _closed(first, connection), within=30)


async def _closed(caller: Caller, connection: str) -> bool:
    """Close the connection with all sessions that were created on it."""
    return (await caller.ask("DELETE", f"/v1/connections/{connection}")).status == 204
