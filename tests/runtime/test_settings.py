"""Settings files are read whole or refused with every problem named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.secretfiles import SecretFileError
from runtime.settings import BrokerSettings, KeysSettings, LogSettings, Section, SettingsError, StatusSettings, broker_urls, load, parse

GOOD = """
[broker]
urls = ["amqp://sluiceway@mq1:5672/grids", "amqps://sluiceway@mq2/grids"]
password_file = "secret/broker"
[keys]
ring_file = "/etc/sluiceway/keys.json"
[[grids]]
name = "RNDBCARDI_PROD"
clusters = ["eu", "us"]
"""


class Grid(Section, frozen=True, kw_only=True):
    """A grid, as small as it gets."""

    name: str
    clusters: tuple[str, ...] = ()


class Local(Section, frozen=True, kw_only=True, tag="local", tag_field="kind"):
    """One kind of connector."""

    processes: Annotated[int, msgspec.Meta(ge=1)] = 1
    grids: tuple[Grid, ...] = ()


class Dask(Section, frozen=True, kw_only=True, tag="dask", tag_field="kind"):
    """Another kind of connector."""

    address: str


class Whole(Section, frozen=True, kw_only=True):
    """A file with all the shared sections."""

    broker: BrokerSettings
    keys: KeysSettings
    log: LogSettings = LogSettings()
    status: StatusSettings = StatusSettings()
    grids: tuple[Grid, ...] = ()
    connector: Local | Dask | None = None
    names: dict[str, Grid] | None = None


def _problems(text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(text, Whole, path=Path("/etc/sluiceway/gateway.toml"))
    return caught.value.problems


def test_a_good_file_is_read_with_defaults(tmp_path: Path) -> None:
    """Sections that are not there take their defaults, and those that are keep their values."""
    file = tmp_path / "gateway.toml"
    file.write_text(GOOD)

    whole = load(file, Whole)

    assert whole.broker.heartbeat == 5
    assert whole.grids == (Grid(name="RNDBCARDI_PROD", clusters=("eu", "us")),)
    assert whole.log == LogSettings(level="info", format="json")


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """A path in a configuration means the same from whatever folder the process was started."""
    file = tmp_path / "gateway.toml"
    file.write_text(GOOD)

    whole = load(file, Whole)

    assert whole.broker.password_file == tmp_path / "secret/broker"
    assert whole.keys.ring_file == Path("/etc/sluiceway/keys.json")


def test_every_problem_is_named_at_once() -> None:
    """One run of an editor suffices: unknown keys, missing ones and wrong values are all in the list, each with its place."""
    text = """
    top = 1
    [broker]
    urls = ["amqp://u@h"]
    hartbeat = 3
    [keyz]
    [status]
    port = "x"
    [[grids]]
    name = "one"
    [[grids]]
    nam = "two"
    clusters = ["x", 3]
    [log]
    level = "loud"
    """

    assert _problems(text) == (
        "unknown section [keyz]; did you mean 'keys'?",
        "unknown key 'top'; known here: broker, connector, grids, keys, log, names, status",
        "[broker]: unknown key 'hartbeat'; did you mean 'heartbeat'?",
        "missing section [keys]",
        "[log] level: invalid enum value 'loud'; one of debug, info, warning, error",
        "[status] port: expected `int`, got `str`",
        "[[grids]] number 2: unknown key 'nam'; did you mean 'name'?",
        "[[grids]] number 2: missing key 'name'",
        "[[grids]] number 2 clusters item 2: expected `str`, got `int`",
    )


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ('[connector]\nkind = "local"\nprocesses = 0', "[connector] processes: expected `int` >= 1"),
        ('[connector]\nkind = "local"\nproceses = 2', "[connector]: unknown key 'proceses'; did you mean 'processes'?"),
        ('[connector]\nkind = "dask"', "[connector]: missing key 'address'"),
        ('[connector]\nkind = "slurm"', "[connector]: invalid value 'slurm'"),
        ('[connector]\nkind = "local"\n[[connector.grids]]\nx = 1\nname = "a"', "[[connector.grids]] number 1: unknown key 'x'; known here: clusters, name"),
        ("[names]\na = {name = 3}", "[names.a] name: expected `str`, got `int`"),
    ],
)
def test_kinds_of_a_section_are_told_apart(section: str, problem: str) -> None:
    """Of several kinds of a section, the one that the file names is what its keys are measured against."""
    assert _problems(GOOD + section) == (problem,)


@pytest.mark.parametrize(
    ("broker", "problem"),
    [
        ('urls = ["amqp://u:secret@h"]', "[broker]: urls: the password for h belongs into a file of its own, named by password_file"),
        ('urls = ["http://h"]', "[broker]: urls: each must look like amqps://user@host:5671/vhost"),
        ("urls = []", "[broker] urls: expected `array` of length >= 1"),
        ('urls = ["amqp://h"]\npassword_file = 3', "[broker] password_file: expected a path, got something else"),
        ('urls = ["amqp://h"]\nheartbeat = 0', "[broker] heartbeat: expected `int` >= 1"),
    ],
)
def test_unsafe_or_useless_brokers_are_refused(broker: str, problem: str) -> None:
    """Passwords stand in files, addresses are AMQP's, and heartbeats cannot be switched off; no message quotes a password."""
    problems = _problems(f'[keys]\nring_file = "k"\n[broker]\n{broker}')

    assert problems == (problem,)


@pytest.mark.parametrize(
    ("content", "problem"), [(b"[broker", "not TOML: "), (b"\xff", "is not UTF-8 text"), (None, "cannot be read: No such file or directory")]
)
def test_files_that_are_no_toml_are_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """A file that cannot be read at all is one problem with its reason."""
    file = tmp_path / "x.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as caught:
        load(file, Whole)

    assert caught.value.problems[0].startswith(problem)
    assert str(file) in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(["broker", "keys", "log", "grids", "connector", "names", "x"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["urls", "name", "kind", "a"]), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_no_shape_of_file_escapes(table: dict[str, object]) -> None:
    """Whatever the tables hold, the answer is a settings value or named problems, never another exception."""
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in table.items())

    with pytest.raises(SettingsError):
        parse(text, Whole, path=Path("x.toml"))


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return msgspec.json.encode(value if value is not None else False).decode()


def test_passwords_are_put_into_addresses(tmp_path: Path) -> None:
    """The password from the file stands in every address, quoted, and the configuration value never holds it."""
    secret = tmp_path / "password"
    secret.write_text("p@ss/word\n")
    secret.chmod(0o600)
    broker = BrokerSettings(urls=("amqp://u@a:1/v", "amqps://b"), password_file=secret)

    assert broker_urls(broker) == ("amqp://u:p%40ss%2Fword@a:1/v", "amqps://guest:p%40ss%2Fword@b")
    assert "p@ss" not in repr(broker)


def test_a_password_open_to_everybody_is_refused(tmp_path: Path) -> None:
    """A world-readable password file stops the start with what to do about it."""
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)

    with pytest.raises(SecretFileError, match="chmod 600"):
        broker_urls(BrokerSettings(urls=("amqp://u@a",), password_file=secret))
