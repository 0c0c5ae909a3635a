"""The steps of the security workflow, the token file, the audit trail, and the table of routes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from gateway.call import Answer, Call
from gateway.problems import ProblemError
from gateway.routes import Route, RouteError, check_routes
from gateway.security.audit import AuditTrail
from gateway.security.policies import Policy
from gateway.security.principals import Principal
from gateway.security.tokens import TokenFileError, Tokens, add_token, load_tokens, remove_token
from gateway.security.workflow import Authenticate, Authorise, CheckTransport, Visit, Workflow

ALICE = Principal(name="token|alice", grids=("*",))


class KnowsAlice:
    """An authenticator for one secret."""

    async def authenticate(self, credentials: str) -> Principal | None:
        """Return Alice for her secret."""
        return ALICE if credentials == "Bearer alice" else None


WORKFLOW = Workflow(steps=[CheckTransport(), Authenticate(authenticators=[KnowsAlice()]), Authorise()])


def visit(**changes: object) -> Visit:
    """Return a good visit with some fields changed."""
    return msgspec.structs.replace(Visit(scheme="https", source="::1", policy=Policy.CALLER, credentials=("Bearer alice",), query=""), **changes)


async def handler(_call: Call) -> Answer:
    """Answer nothing."""
    return Answer()


def route(**changes: object) -> Route:
    """Return a good route with some fields changed."""
    good = Route(method="GET", path="/x", operation="x", policy=Policy.CALLER, handler=handler, summary="x", group="x")
    return msgspec.structs.replace(good, **changes)


async def test_good_credentials_are_let_in() -> None:
    """A caller with valid credentials passes under the name that the authenticator gave."""
    assert await WORKFLOW.admit(visit()) == ALICE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scheme": "http"}, "forbidden"),
        ({"credentials": ()}, "unauthenticated"),
        ({"credentials": ("Bearer mallory",)}, "unauthenticated"),
        ({"credentials": ("Basic YTpi",)}, "unauthenticated"),
        ({"credentials": ("Bearer mallory",), "policy": Policy.PUBLIC}, "unauthenticated"),
        ({"credentials": ("Bearer alice", "Bearer alice")}, "invalid-parameter"),
        ({"query": "access_token=alice"}, "invalid-parameter"),
        ({"policy": None}, "forbidden"),
    ],
)
async def test_everything_else_is_refused(changes: dict[str, object], code: str) -> None:
    """Each step refuses what is its own to refuse."""
    with pytest.raises(ProblemError) as caught:
        await WORKFLOW.admit(visit(**changes))
    assert caught.value.code == code


async def test_public_pages_need_no_credentials() -> None:
    """Descriptions of the interface are for everybody."""
    assert not (await WORKFLOW.admit(visit(credentials=(), policy=Policy.PUBLIC))).known


def test_a_workflow_without_authorisation_does_not_start() -> None:
    """The last step decides, so a workflow that lacks it is a mistake."""
    with pytest.raises(ValueError, match="authorisation"):
        Workflow(steps=[CheckTransport()])


def test_a_route_without_a_policy_does_not_start() -> None:
    """Nobody can forget to say who may call a route."""
    with pytest.raises(RouteError, match="GET /x"):
        check_routes([route(policy=None)])


def test_two_routes_for_one_request_do_not_start() -> None:
    """A route that hides another one is a mistake; so are two operations of one name."""
    with pytest.raises(RouteError, match="same request"):
        check_routes([route(), route(operation="y")])
    with pytest.raises(RouteError, match="same operation"):
        check_routes([route(), route(path="/y")])


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def _add(path: Path, name: str, **changes: object) -> str:
    given: dict[str, object] = {"grids": ("*",), "expires": None, "now": 1} | changes
    return add_token(path, name=name, **given)  # type: ignore[arg-type]


async def _tokens(path: Path, *, now: float = 2) -> Tokens:
    return Tokens(path=path, stored=await asyncio.to_thread(load_tokens, path), clock=lambda: now)


async def test_a_token_of_the_file_is_recognised(token_file: Path) -> None:
    """The secret that was shown once opens; anything else does not."""
    secret = await asyncio.to_thread(_add, token_file, "alice", grids=("G",))
    tokens = await _tokens(token_file)
    assert await tokens.authenticate(f"Bearer {secret}") == Principal(name="token|alice", grids=("G",))
    assert await tokens.authenticate(f"bearer {secret}") is not None
    assert await tokens.authenticate(f"Bearer {secret}x") is None
    assert await tokens.authenticate(f"Basic {secret}") is None
    assert await tokens.authenticate("Bearer ") is None


def test_the_file_holds_no_secret_and_is_private(token_file: Path) -> None:
    """Who reads the file learns no token, and only its owner reads it."""
    secret = _add(token_file, "alice")
    assert secret not in token_file.read_text()
    assert token_file.stat().st_mode & 0o777 == 0o600


async def test_the_file_is_read_anew_when_it_changes(token_file: Path) -> None:
    """A new token opens and a revoked one does not, without a restart."""
    first = await asyncio.to_thread(_add, token_file, "alice")
    tokens = await _tokens(token_file)
    second = await asyncio.to_thread(_add, token_file, "bob")
    await asyncio.to_thread(remove_token, token_file, "alice")
    await tokens.refresh()
    assert await tokens.authenticate(f"Bearer {first}") is None
    assert await tokens.authenticate(f"Bearer {second}") is not None


async def test_an_unreadable_file_changes_nothing(token_file: Path) -> None:
    """A half-written or missing file does not lock everybody out."""
    secret = await asyncio.to_thread(_add, token_file, "alice")
    tokens = await _tokens(token_file)
    await asyncio.to_thread(token_file.write_text, "{")
    await tokens.refresh()
    assert await tokens.authenticate(f"Bearer {secret}") is not None
    await asyncio.to_thread(token_file.unlink)
    await tokens.refresh()
    assert await tokens.authenticate(f"Bearer {secret}") is not None


async def test_an_expired_token_is_refused(token_file: Path) -> None:
    """After its last second a token opens nothing."""
    secret = await asyncio.to_thread(_add, token_file, "alice", expires=100)
    assert await (await _tokens(token_file, now=99)).authenticate(f"Bearer {secret}") is not None
    assert await (await _tokens(token_file, now=100)).authenticate(f"Bearer {secret}") is None


def test_names_are_unique_and_plain(token_file: Path) -> None:
    """Two tokens of one name could not be told apart in the audit trail."""
    _add(token_file, "alice")
    with pytest.raises(TokenFileError, match="already"):
        _add(token_file, "alice")
    with pytest.raises(TokenFileError, match="letters"):
        _add(token_file, "token|alice")
    with pytest.raises(TokenFileError, match="no token"):
        remove_token(token_file, "bob")


def test_a_file_that_others_may_read_is_refused(token_file: Path) -> None:
    """The gateway does not start with a token file open to every user."""
    _add(token_file, "alice")
    token_file.chmod(0o644)
    with pytest.raises(TokenFileError, match="chmod"):
        load_tokens(token_file)


def _line(trail: AuditTrail, status: int = 200) -> None:
    trail.record(trail.line(source="192.0.2.1", login="token|alice", action="connect", target="/v1/connections", status=status, request_id="r1"))


async def test_audit_lines_say_who_did_what(tmp_path: Path) -> None:
    """One JSON object a line with time, gateway, source, login, action, object and outcome."""
    trail = AuditTrail(path=tmp_path / "audit.jsonl", gateway="g1", required=True)
    _line(trail)
    _line(trail, 403)
    _line(trail, 503)
    await trail.flush()
    lines = [msgspec.json.decode(line) for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()]
    assert [line["outcome"] for line in lines] == ["success", "refused", "failed"]
    time = lines[0].pop("time")
    assert time.endswith("+00:00")
    assert lines[0] == {
        "gateway": "g1",
        "source": "192.0.2.1",
        "login": "token|alice",
        "action": "connect",
        "object": "/v1/connections",
        "outcome": "success",
        "status": 200,
        "requestId": "r1",
    }


async def test_requests_are_refused_while_lines_cannot_be_written(tmp_path: Path) -> None:
    """A required trail fails closed, keeps its lines, and opens again by itself."""
    folder = tmp_path / "logs"
    trail = AuditTrail(path=folder / "audit.jsonl", gateway="g1", required=True)
    _line(trail)
    await trail.flush()
    with pytest.raises(ProblemError) as caught:
        trail.check()
    assert caught.value.code == "overloaded"
    folder.mkdir()
    await trail.flush()
    trail.check()
    assert len((folder / "audit.jsonl").read_bytes().splitlines()) == 1


async def test_a_trail_that_is_not_required_does_not_stop_work(tmp_path: Path) -> None:
    """Where availability goes first, lost lines refuse nobody."""
    trail = AuditTrail(path=tmp_path / "missing" / "audit.jsonl", gateway="g1", required=False)
    _line(trail)
    await trail.flush()
    trail.check()
    assert trail.failing


def test_the_audit_file_is_not_for_everybody(tmp_path: Path) -> None:
    """Names and addresses of callers are readable for owner and group only."""
    from gateway.security.audit import append  # noqa: PLC0415 - the one test of it

    append(tmp_path / "audit.jsonl", b"{}\n")
    assert os.stat(tmp_path / "audit.jsonl").st_mode & 0o007 == 0  # noqa: PTH116 - mode bits
