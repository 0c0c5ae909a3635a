"""The program ``sluiceway``: joined commands, defaults, exit codes."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sluiceway.cli.ping import PingPlan, percentile
from sluiceway.cli.program import build
from sluiceway.cli.rooms import GROUP
from sluiceway.packing import unpack
from tests.client.fake_gateway import FakeGateway

_HERE = "tests.client.joined_commands"


def _run(*arguments: str, joined: dict[str, str] | None = None) -> Result:
    entries = [EntryPoint(name=name, value=value, group=GROUP) for name, value in (joined or {}).items()]
    return CliRunner().invoke(build(arguments, joined=entries), list(arguments))


def test_a_command_that_cannot_be_imported_breaks_nothing_else() -> None:
    """A joined command whose module is missing says so when called; the overview and other commands work."""
    joined = {"good": f"{_HERE}:app", "plain": f"{_HERE}:plain", "bad": "no_such_room.commands:app"}
    overview = _run("--help", joined=joined)
    assert overview.exit_code == 0
    assert all(one in overview.output for one in ("good", "plain", "bad", "ping", "up"))
    assert _run("good", "greet", joined=joined).output == "hello\n"
    assert _run("plain", "--loud", joined=joined).output == "PLAIN\n"
    bad = _run("bad", "setup", "--lanes", "3", joined=joined)
    assert bad.exit_code == 1
    assert "the command 'bad' cannot be loaded from no_such_room.commands:app: ModuleNotFoundError" in bad.stderr
    assert "Traceback" not in bad.output


def test_joined_commands_are_loaded_only_when_wanted() -> None:
    """Our own command does not import what other rooms join."""
    joined = {"bad": "no_such_room.commands:app"}
    assert "bad" not in {one.name for one in build(["ping"], joined=[EntryPoint("bad", joined["bad"], GROUP)]).registered_commands}


@pytest.mark.parametrize("command", ["up", "submit", "fetch", "sessions", "grids", "ping"])
def test_help_has_an_example(command: str) -> None:
    """Every command's help ends with an example."""
    shown = _run(command, "--help")
    assert shown.exit_code == 0
    assert f"Example: sluiceway {command}" in " ".join(shown.output.split())


def test_without_a_gateway_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside of a stack's folder and without options, wrong use ends with code 2 and a sentence."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLUICEWAY_GATEWAYS", raising=False)
    result = _run("grids")
    assert result.exit_code == 2
    assert "sluiceway up" in " ".join(result.output.split())


async def _program(*arguments: str) -> Result:
    return await asyncio.to_thread(_run, *arguments)


async def test_commands_use_the_stack_of_the_folder(fakes: list[FakeGateway], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What 'sluiceway up' wrote in the folder is found without options, and --json is one JSON value."""
    (tmp_path / ".sluiceway").mkdir()
    (tmp_path / "token").write_text("abc")
    fakes[0].tokens = {"abc"}
    state = {"gateways": [fakes[0].url], "token_file": str(tmp_path / "token"), "grid": "FAKE", "application": "Echo"}
    (tmp_path / ".sluiceway" / "client.json").write_text(json.dumps(state))
    monkeypatch.chdir(tmp_path)
    shown = await _program("grids", "--json")
    assert json.loads(shown.output)[0]["name"] == "FAKE"
    (tmp_path / "in").write_bytes(b"first\nsecond\n")
    sent = json.loads((await _program("submit", "--lines", "in", "--json")).output)
    assert len(sent["taskIds"]) == 2
    fetched = await _program("fetch", sent["sessionId"], "--out", "results", "--json")
    lines = [json.loads(one) for one in fetched.output.splitlines()]
    assert (fetched.exit_code, [one.get("taskId") for one in lines[:2]], lines[2]["ended"]) == (0, sent["taskIds"], False)
    assert {one.read_bytes() for one in (tmp_path / "results").iterdir()} == {b"first", b"second"}
    assert fakes[0].grid.sessions[sent["sessionId"]].acknowledged == 2
    (tmp_path / "fails").write_bytes(b"fail")
    failed = await _program("submit", "--wait", "fails")
    assert failed.exit_code == 3
    listed = json.loads((await _program("sessions", "--json")).output)
    assert {one["session_id"] for one in listed["sessions"]} == {"s1", "s2"}


async def test_ping_reports_rate_and_latency(fakes: list[FakeGateway]) -> None:
    """Ping sends as many tasks as asked for and prints rate and percentiles."""
    done = await _program("ping", "-n", "50", "--under-way", "10", "--gateway", fakes[0].url, "--json")
    report = json.loads(done.output)
    assert (done.exit_code, report["tasks"], report["failed"]) == (0, 50, 0)
    assert 0 < report["p50_ms"] <= report["p90_ms"] <= report["p99_ms"] <= report["max_ms"]


async def test_a_refused_token_is_one_line(fakes: list[FakeGateway]) -> None:
    """An error of the gateway ends with code 1 and one line, no traceback."""
    fakes[0].tokens = {"abc"}
    done = await _program("grids", "--gateway", fakes[0].url)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "401 unauthenticated" in done.stderr


def test_percentiles() -> None:
    """Nearest rank: the 99th of a hundred values is the 99th value."""
    values = [float(one) for one in range(1, 101)]
    assert [percentile(values, one) for one in (0.5, 0.9, 0.99, 1.0)] == [50.0, 90.0, 99.0, 100.0]
    assert percentile([], 0.5) == 0.0
    assert percentile([7.0], 0.99) == 7.0


def test_ping_inputs_have_the_size_asked_for() -> None:
    """An input for the ping service is as long as wanted, and says what the service shall do."""
    plan = PingPlan(tasks=1, input_bytes=1024, output_bytes=10, sleep_ms=2.5, under_way=1)
    payload = plan.payload()
    assert 1020 <= len(payload) <= 1028
    wanted = unpack(payload.removeprefix(b"ping\x00"))
    assert isinstance(wanted, dict)
    assert (wanted["sleep_ms"], wanted["output_bytes"]) == (2.5, 10)
