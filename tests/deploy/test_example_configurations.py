"""The annotated example configurations fit the settings they explain, and show every key with its true default."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from typer.testing import CliRunner

from bridge.settings import BridgeSettings
from broker.settings import BrokerFile
from gateway.settings import GatewaySettings
from runtime.commands import app
from runtime.settings import load, parse

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/config"
PROCESSES: list[tuple[str, type[msgspec.Struct]]] = [("gateway", GatewaySettings), ("bridge", BridgeSettings)]
ROLES = [*PROCESSES, ("broker", BrokerFile)]
# What has no default that could be shown: empty means "none".
UNSHOWN = {"retention"}


def _all_keys(kind: type[msgspec.Struct]) -> set[str]:
    """Return the names of all keys that a file of this kind may have, those of arrays of tables included."""
    names: set[str] = set()
    for field in msgspec.structs.fields(kind):
        names.add(field.encode_name)
        for inner in (field.type, *get_args(field.type), *(part for outer in get_args(field.type) for part in get_args(outer))):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                names |= _all_keys(inner)
    return names


def _with_defaults_written_out(text: str) -> str:
    return re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize(("role", "kind"), ROLES)
def test_examples_are_accepted(role: str, kind: type[msgspec.Struct]) -> None:
    """Each example loads as it stands."""
    assert isinstance(load(FOLDER / f"{role}.example.toml", kind), kind)


@pytest.mark.parametrize(("role", "kind"), ROLES)
def test_shown_defaults_are_the_defaults(role: str, kind: type[msgspec.Struct]) -> None:
    """Writing out the lines that are commented out changes nothing: they show what holds without them."""
    path = FOLDER / f"{role}.example.toml"
    text = path.read_text()
    # These follow from what else is set, so their lines are examples.
    written = re.sub(r"^(processes = 4 .*those of|default_session_type|bytes).*$", "", _with_defaults_written_out(text), flags=re.MULTILINE)

    assert parse(written, kind, path=path) == parse(text, kind, path=path)


@pytest.mark.parametrize(("role", "kind"), ROLES)
def test_every_key_is_explained(role: str, kind: type[msgspec.Struct]) -> None:
    """No key is missing from its role's example."""
    shown: set[str] = set()

    def collect(value: Any) -> None:  # noqa: ANN401 - any tree of plain values
        if isinstance(value, dict):
            shown.update(value)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(item)

    collect(tomllib.loads(_with_defaults_written_out((FOLDER / f"{role}.example.toml").read_text())))

    assert _all_keys(kind) - UNSHOWN - shown == set()


@pytest.mark.parametrize("role", [role for role, _ in ROLES])
def test_the_command_finds_every_role(role: str) -> None:
    """`sluiceway config check` knows each role and runs the rooms' checks: the examples fail only for files that are not there (or a small disk)."""
    result = CliRunner().invoke(app, ["check", str(FOLDER / f"{role}.example.toml"), "--role", role, "--json"])

    problems = json.loads(result.stdout)["problems"]
    assert problems
    # How large the disk of this machine is, is no matter here.
    assert all("there is no file" in problem or "lanes may take" in problem for problem in problems)


def test_lanes_that_do_not_fit_the_disk_are_refused(tmp_path: Path) -> None:
    """More lanes than 80 % of the disk can take are a problem of `sluiceway config check`."""
    file = tmp_path / "broker.toml"
    file.write_text('[broker]\nurls = ["amqp://u@h"]\n[[clusters]]\nname = "A"\nlanes = 1000\n[disk]\nbytes = 100000000000\n')

    result = CliRunner().invoke(app, ["check", str(file), "--role", "broker", "--json"])

    (problem,) = json.loads(result.stdout)["problems"]
    assert "1000 lanes may take" in problem


@pytest.mark.parametrize(("role", "kind"), PROCESSES)
def test_the_containers_configurations_are_accepted(role: str, kind: type[msgspec.Struct]) -> None:
    """What the compose stack runs with loads too, and its status port is the one that the health check asks."""
    settings = load(ROOT / f"deploy/docker/{role}.toml", kind)

    assert settings.status.port == 9443  # type: ignore[attr-defined]
