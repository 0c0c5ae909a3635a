"""schemathesis against the gateway's own OpenAPI document: no input makes it fail, and every answer is one that the document names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from gateway.main import RunningGateway
from tests.support.gatewaystand import Client, Stand

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]

_EXAMPLES = 6
_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_PER_REQUEST = 12.0


def _fuzz(base: str, secret: str, authority: str, ids: dict[str, str], schema: Any) -> int:  # noqa: ANN401 - schemathesis' own
    """Send generated requests for every operation; return how many were answered."""
    answered = 0
    with requests.Session() as http:
        for result in schema.get_all_operations():
            assert isinstance(result, Ok)
            operation = result.ok()
            for strategy in (operation.as_strategy(), operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)):
                answered += _one(strategy, {"base_url": base, "session": http, "headers": {"Authorization": f"Bearer {secret}"}, "verify": authority}, ids)
    return answered


def _one(strategy: Any, transport: dict[str, Any], ids: dict[str, str]) -> int:  # noqa: ANN401 - hypothesis' own
    answered = 0

    @settings(max_examples=_EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=strategy)
    def ask(case: schemathesis.Case[Any]) -> None:
        nonlocal answered
        case.path_parameters = {name: ids.get(name, value) for name, value in (case.path_parameters or {}).items()}
        response = case.call(timeout=_PER_REQUEST, **transport)
        assert response.status_code != 500, response.text
        # 503 is an honest answer where no lane or owner is left; it must come as a problem that says when to come back.
        assert response.status_code < 500 or "retry-after" in response.headers, response.text
        case.validate_response(response, checks=_CHECKS)
        answered += 1

    ask()
    return answered


@pytest.mark.usefixtures("owner")
async def test_no_generated_request_makes_the_gateway_fail(stand: Stand, running: RunningGateway, client: Client) -> None:
    """Valid and invalid data for every operation, with made-up ids and with the ids of a real connection and session."""
    # Made here: its late imports, compiled in a thread, trip over a fault of CPython 3.11 (AST constructor recursion depth mismatch).
    schema = schemathesis.openapi.from_dict((await client.ask("GET", "/openapi.json")).json)
    connection = await client.connect()
    session = (await client.create(connection)).json["sessionId"]
    base, authority = f"https://localhost:{running.port}", str(stand.folder / "ca.pem")
    assert await asyncio.to_thread(_fuzz, base, client.secret, authority, {}, schema) > 60
    assert await asyncio.to_thread(_fuzz, base, client.secret, authority, {"sessionId": session, "connectionId": connection}, schema) > 60
    assert (await client.ask("GET", "/v1/grids")).status == 200
