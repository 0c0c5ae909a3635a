"""The public pages and the OpenAPI document."""

from __future__ import annotations

import msgspec
import pytest

from schemas.problems import PROBLEMS
from tests.support.gatewaystand import Client

pytestmark = pytest.mark.broker

SERVICES = {
    "listGrids",
    "connect",
    "closeConnection",
    "createSession",
    "openSession",
    "listSessions",
    "getSession",
    "updateSession",
    "closeSession",
    "sendTaskInput",
    "fetchTaskOutput",
    "getTaskOutput",
}


@pytest.fixture
def anybody(client: Client) -> Client:
    """A client without credentials."""
    client.secret = ""
    return client


async def test_the_document_names_the_services_of_the_requirement(anybody: Client) -> None:
    """OpenAPI 3.1, with the original services' names as operation ids, each asking for a token."""
    document = (await anybody.ask("GET", "/openapi.json")).json
    operations = {operation["operationId"]: operation for path in document["paths"].values() for operation in path.values()}
    assert document["openapi"].startswith("3.1")
    assert set(operations) >= SERVICES
    assert document["security"] == [{"token": []}]
    for name in ("connect", "createSession", "sendTaskInput"):
        keys = [parameter for parameter in operations[name]["parameters"] if parameter["name"] == "Idempotency-Key"]
        assert keys[0]["required"], name


async def test_every_verb_that_firewalls_refuse_has_a_post(anybody: Client) -> None:
    """PUT, PATCH and DELETE are never the only way."""
    document = (await anybody.ask("GET", "/openapi.json")).json
    operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    refused = {operation["operationId"] for path in document["paths"].values() for method, operation in path.items() if method in {"put", "patch", "delete"}}
    assert {f"{name}ByPost" for name in refused} <= operations


async def test_pages_are_conditional(anybody: Client) -> None:
    """An ETag that is still right is answered 304 without a body."""
    for path in ("/openapi.json", "/docs", "/docs/swagger-ui-bundle.js", "/docs/problems"):
        got = await anybody.ask("GET", path)
        assert got.status == 200
        again = await anybody.ask("GET", path, headers={"If-None-Match": got.headers["ETag"]})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", got.headers["ETag"])
        head = await anybody.ask("HEAD", path)
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(got.body)))


async def test_the_docs_need_no_other_server(anybody: Client) -> None:
    """Everything the page loads comes from this gateway, and the policy forbids anything else."""
    page = await anybody.ask("GET", "/docs")
    assert b"http://" not in page.body
    assert b"https://" not in page.body
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js", "problems.css"):
        assert (await anybody.ask("GET", f"/docs/{name}")).status == 200
    assert (await anybody.ask("GET", "/docs/../main.py")).code == "not-found"
    assert (await anybody.ask("GET", "/docs/%2e%2e%2fmain.py")).code == "not-found"


async def test_every_problem_code_is_listed(anybody: Client) -> None:
    """The type URI of each problem leads to its row."""
    page = (await anybody.ask("GET", "/docs/problems")).body.decode()
    for code in PROBLEMS:
        assert f'id="{code}"' in page


async def test_everything_else_wants_a_token(anybody: Client) -> None:
    """Default deny: without credentials every other route answers 401 with a challenge, whatever the ids."""
    document = (await anybody.ask("GET", "/openapi.json")).json
    for path, methods in document["paths"].items():
        for method in methods:
            target = path.replace("{", "").replace("}", "")
            got = await anybody.ask(method.upper(), target, key="k")
            assert (got.status, got.code) == (401, "unauthenticated"), target
            assert got.headers["WWW-Authenticate"].startswith("Bearer")


async def test_unknown_paths_and_methods_are_problems(anybody: Client) -> None:
    """404 and 405 are problem documents too, and 405 says what is allowed."""
    assert (await anybody.ask("GET", "/v2/grids")).code == "not-found"
    got = await anybody.ask("PATCH", "/v1/grids?colour=red", data=b"{")
    assert (got.status, got.code, got.headers["Allow"]) == (405, "method-not-allowed", "GET, HEAD")


async def test_what_cannot_be_given_is_406(client: Client) -> None:
    """A client that accepts neither JSON nor MessagePack is told so."""
    got = await client.ask("GET", "/v1/grids", headers={"Accept": "text/html"})
    assert (got.status, got.code) == (406, "not-acceptable")


async def test_a_callers_request_id_comes_back(client: Client) -> None:
    """Problems and answers carry the id under which they are logged; a caller's own is kept when it is harmless."""
    got = await client.ask("GET", "/v1/sessions/x", headers={"X-Request-Id": "abc-1"})
    assert (got.headers["X-Request-Id"], got.json["requestId"]) == ("abc-1", "abc-1")
    got = await client.ask("GET", "/v1/sessions/x", headers={"X-Request-Id": "<script>"})
    assert len(msgspec.json.decode(got.body)["requestId"]) == 16
