"""The command ``sluiceway broker`` and the file it reads."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from broker.commands import app
from broker.declaring import disk_needed, disk_problem
from broker.settings import BrokerFile, check_disk
from runtime.settings import BrokerSettings, SettingsError, parse
from schemas.topology import ClusterTopology

_FILE = """
[broker]
urls = ["{url}"]
password_file = "{password_file}"

[[clusters]]
name = "{name}"
lanes = 3

[clusters.limits]
input_bytes = 1000000
"""


def run(*arguments: str) -> Result:
    """Run the command as a user would."""
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def address(broker_settings: BrokerSettings) -> list[str]:
    """The options that lead to the broker of this test run."""
    return ["--url", broker_settings.urls[0], "--password-file", str(broker_settings.password_file)]


@pytest.mark.broker
def test_set_up_twice_and_grow(address: list[str]) -> None:
    """The first set-up makes all lanes, the second none, a larger one the missing ones; status counts a token for each."""
    name = f"command-{secrets.token_hex(4)}"

    made = [json.loads(run("setup", "--cluster", name, "--lanes", lanes, "--json", *address).stdout) for lanes in ("2", "2", "5")]
    status = json.loads(run("status", "--cluster", name, "--json", *address).stdout)

    assert [(report[0]["lanes"], report[0]["new_lanes"]) for report in made] == [(2, 2), (2, 0), (5, 3)]
    assert status[f"sw.{name}.free"] == 5
    assert status[f"sw.{name}.claims"] == 0


@pytest.mark.broker
def test_file_names_clusters(broker_settings: BrokerSettings, tmp_path: Path) -> None:
    """A broker.toml says which clusters there are, with how many lanes and which limits."""
    name = f"file-{secrets.token_hex(4)}"
    file = tmp_path / "broker.toml"
    file.write_text(_FILE.format(url=broker_settings.urls[0], password_file=broker_settings.password_file, name=name))

    result = run("setup", "--config", str(file))

    assert (result.exit_code, result.stdout) == (0, f"{name}: 3 lanes, 3 of them new\n")


@pytest.mark.broker
def test_cluster_that_is_not_set_up(address: list[str]) -> None:
    """Status tells a cluster that was never set up apart from one without free lanes."""
    assert "sw.nowhere.free: not set up" in run("status", "--cluster", "nowhere", *address).stdout


@pytest.mark.broker
def test_objects_with_other_arguments_are_refused(address: list[str], tmp_path: Path, broker_settings: BrokerSettings) -> None:
    """A set-up whose limits differ from those of existing lanes says so in one line and exits with 1."""
    name = f"differs-{secrets.token_hex(4)}"
    run("setup", "--cluster", name, "--lanes", "1", *address)
    file = tmp_path / "broker.toml"
    file.write_text(_FILE.format(url=broker_settings.urls[0], password_file=broker_settings.password_file, name=name))

    result = run("setup", "--config", str(file), "--cluster", name)

    assert result.exit_code == 1
    assert "x-max-length-bytes" in result.stderr
    assert len(result.stderr.splitlines()) <= 3


def test_broker_away() -> None:
    """Without a broker the command says so and exits with 1."""
    result = run("status", "--url", "amqp://guest@127.0.0.1:9/")

    assert result.exit_code == 1
    assert "no broker node could be reached" in result.stderr


def test_bad_cluster_name() -> None:
    """A name that cannot stand in names of broker objects is refused, on the command line and in the file."""
    assert "must be 1 to 64 letters" in run("setup", "--cluster", "a b").stderr
    text = _FILE.format(url="amqp://a@b/", password_file="p", name="a b")
    with pytest.raises(SettingsError, match="must be 1 to 64 letters"):
        parse(text, BrokerFile, path=Path("broker.toml"))


def test_disk_must_hold_all_lanes(tmp_path: Path) -> None:
    """Lanes that may take more than 80 % of the disk are refused, and what they may take is added up over all clusters."""
    small = ClusterTopology(cluster="c", lanes=2)
    needed = disk_needed(small)
    text = '[broker]\nurls=["amqp://a@b/"]\n[disk]\nbytes={bytes}\n[[clusters]]\nname="a"\nlanes=1\n[[clusters]]\nname="b"\nlanes=1\n'
    fits, tight = (parse(text.format(bytes=size), BrokerFile, path=tmp_path / "b") for size in (needed * 2, needed))

    assert needed == 2 * small.limits.lane_bytes
    assert disk_problem(small, needed * 2) is None
    assert "more than 80%" in (disk_problem(small, needed) or "")
    assert list(check_disk("broker", fits)) == []
    assert len(list(check_disk("broker", tight))) == 1
    assert list(check_disk("gateway", tight)) == []
