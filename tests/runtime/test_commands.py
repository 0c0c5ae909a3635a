"""The commands for configuration files and key rings."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from runtime import roles
from runtime.commands import app, keys
from runtime.settings import BrokerSettings, KeysSettings, Section, StatusSettings


class Whole(Section, frozen=True, kw_only=True):
    """The settings of a role that exists only here."""

    broker: BrokerSettings
    keys: KeysSettings
    status: StatusSettings = StatusSettings()


def full_disk(role: str, settings: msgspec.Struct) -> list[str]:
    """Stand for a check that a room contributes."""
    assert isinstance(settings, Whole)
    return ["the disk is too small"] if role == "crowded" else []


@pytest.fixture(autouse=True)
def doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the entry points lead to this file's settings and check, and one of them nowhere."""
    here = __name__
    known = [
        EntryPoint("plain", f"{here}:Whole", "sluiceway.settings"),
        EntryPoint("crowded", f"{here}:Whole", "sluiceway.settings"),
        EntryPoint("broken", "no_such_room:Whole", "sluiceway.settings"),
        EntryPoint("disk", f"{here}:full_disk", "sluiceway.checks"),
    ]

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [entry for entry in known if entry.group == group and name in {None, entry.name}]

    monkeypatch.setattr(roles, "entry_points", entry_points)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a sound configuration file whose key ring exists."""
    path = tmp_path / "plain.toml"
    path.write_text('[broker]\nurls = ["amqp://u@mq:5672/v"]\n[keys]\nring_file = "keys.json"\n')
    (tmp_path / "keys.json").write_text("{}")
    return path


def test_a_sound_file_passes(file: Path) -> None:
    """A file without problems exits 0, in words and in JSON."""
    plain = CliRunner().invoke(app, ["check", str(file), "--role", "plain"])
    as_json = CliRunner().invoke(app, ["check", str(file), "--role", "plain", "--json"])

    assert (plain.exit_code, as_json.exit_code) == (0, 0)
    assert json.loads(as_json.stdout) == {"file": str(file), "role": "plain", "ok": True, "problems": []}


def test_every_problem_is_printed(file: Path) -> None:
    """All problems of the text come out at once, with exit code 1."""
    file.write_text("[brokr]\n[status]\nport = 70000\n")

    result = CliRunner().invoke(app, ["check", str(file), "--role", "plain", "--json"])

    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"] == [
        "unknown section [brokr]; did you mean 'broker'?",
        "missing section [broker]",
        "missing section [keys]",
        "[status] port: expected `int` <= 65535",
    ]


def test_files_that_settings_name_must_be_there(file: Path) -> None:
    """A key ring that is not there is a problem before the process starts, not after."""
    (file.parent / "keys.json").unlink()

    result = CliRunner().invoke(app, ["check", str(file), "--role", "plain", "--json"])

    assert json.loads(result.stdout)["problems"] == [f"keys.ring_file: there is no file {file.parent}/keys.json"]


def test_rooms_contribute_checks(file: Path) -> None:
    """A problem that only a room can see is printed with the others."""
    result = CliRunner().invoke(app, ["check", str(file), "--role", "crowded", "--json"])

    assert (result.exit_code, json.loads(result.stdout)["problems"]) == (1, ["the disk is too small"])


@pytest.mark.parametrize(("role", "sentence"), [("gatway", "no role is named 'gatway'; known: broken, crowded, plain"), ("broken", "cannot be imported")])
def test_unknown_and_broken_roles_are_explained(file: Path, role: str, sentence: str) -> None:
    """A role that is unknown, or whose room is not installed, exits 2 with a sentence instead of a traceback."""
    result = CliRunner().invoke(app, ["check", str(file), "--role", role])

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_show_prints_defaults_and_hides_addresses(file: Path) -> None:
    """Settings in force include the defaults; with --redacted neither addresses nor paths are in the text."""
    plain = CliRunner().invoke(app, ["show", str(file), "--role", "plain"])
    redacted = CliRunner().invoke(app, ["show", str(file), "--role", "plain", "--redacted", "--json"])

    assert "broker.heartbeat = 5" in plain.stdout.splitlines()
    assert 'broker.urls = ["amqp://u@mq:5672/v"]' in plain.stdout.splitlines()
    shown = json.loads(redacted.stdout)
    assert (shown["broker"]["urls"], shown["keys"]["ring_file"], shown["status"]["host"], shown["status"]["port"]) == (["***"], "***", "***", 0)


def test_key_rings_are_made_rotated_and_retired(tmp_path: Path) -> None:
    """The life of a ring by commands; none of them prints a key."""
    path = tmp_path / "keys.json"

    runs = [
        CliRunner().invoke(keys, [*words, "--json"])
        for words in (["create", str(path)], ["rotate", str(path)], ["retire", str(path), "k1"], ["show", str(path)])
    ]

    assert [run.exit_code for run in runs] == [0, 0, 0, 0]
    assert [json.loads(run.stdout)["keys"] for run in runs] == [["k1"], ["k1", "k2"], ["k2"], ["k2"]]
    secret = json.loads(path.read_text())["keys"]["k2"]
    assert not any(secret in run.output for run in runs)


@pytest.mark.parametrize("words", [["create"], ["retire", "k1"], ["retire", "k9"]])
def test_dangerous_key_commands_are_refused(tmp_path: Path, words: list[str]) -> None:
    """Overwriting a ring, retiring its sealing key or an unknown one exits 1 with a sentence and changes nothing."""
    path = tmp_path / "keys.json"
    CliRunner().invoke(keys, ["create", str(path)])
    before = path.read_bytes()

    result = CliRunner().invoke(keys, [words[0], str(path), *words[1:]])

    assert result.exit_code == 1
    assert str(path) in result.stderr
    assert path.read_bytes() == before
