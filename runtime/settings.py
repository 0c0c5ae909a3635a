"""Settings of a process: one TOML file per role, read into msgspec structs, with the sections that several roles share."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from runtime.secretfiles import read_secret
from runtime.validation import find_problems

__all__ = ["BrokerSettings", "KeysSettings", "LogSettings", "Section", "SettingsError", "StatusSettings", "broker_urls", "load", "parse"]

T = TypeVar("T")
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class SettingsError(Exception):
    """Raised when a configuration file cannot be used.

    Args:
        path: The file.
        problems: One sentence for each thing that is wrong.
    """

    def __init__(self, path: Path, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.path = path
        self.problems = problems


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every section: keys that nobody knows are refused, values never change.

    Type checkers want ``frozen=True, kw_only=True`` written again at each section; msgspec would inherit them.
    """


class BrokerSettings(Section, frozen=True, kw_only=True):
    """``[broker]``: where RabbitMQ listens.

    Args:
        urls: One ``amqp://`` or ``amqps://`` address per node, without a password.
        password_file: The file whose one line is the password of every address' user.
        ca_file: The certificates (PEM) that broker certificates are verified with; the system's without it.
        heartbeat: Seconds between heartbeats; a peer that misses two is gone.
        connect_timeout: Seconds until an address counts as unreachable and the next is tried.
    """

    urls: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=16)]
    password_file: Path | None = None
    ca_file: Path | None = None
    heartbeat: Annotated[int, msgspec.Meta(ge=1, le=300)] = 5
    connect_timeout: Seconds = 5.0

    def __post_init__(self) -> None:
        for url in self.urls:
            parts = urlsplit(url)
            if parts.scheme not in {"amqp", "amqps"} or not parts.hostname:
                raise ValueError("urls: each must look like amqps://user@host:5671/vhost")
            if parts.password:
                raise ValueError(f"urls: the password for {parts.hostname} belongs into a file of its own, named by password_file")


class KeysSettings(Section, frozen=True, kw_only=True):
    """``[keys]``: the ring that seals ids and cursors, the same at every gateway and bridge."""

    ring_file: Path


class LogSettings(Section, frozen=True, kw_only=True):
    """``[log]``: what goes to standard output, and in which dress."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class StatusSettings(Section, frozen=True, kw_only=True):
    """``[status]``: the plain HTTP listener of ``/livez``, ``/readyz`` and ``/metrics``; port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: Port = 0


def broker_urls(broker: BrokerSettings) -> tuple[str, ...]:
    """Return the addresses with the password from its file put in; reads that file.

    Raises:
        SecretFileError: The password's file is missing, empty or open to other users.
    """
    if broker.password_file is None:
        return broker.urls
    password = quote(read_secret(broker.password_file), safe="")
    return tuple(_with_password(url, password) for url in broker.urls)


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user or 'guest'}:{password}@{host}"))


def load(path: Path, kind: type[T]) -> T:
    """Read the configuration file at ``path`` as ``kind``; relative paths in it start at the file's folder.

    Raises:
        SettingsError: The file cannot be read, is no TOML, or does not fit; it names every problem.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise SettingsError(path, (f"cannot be read: {exc.strerror}",)) from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(path, ("is not UTF-8 text",)) from exc
    return parse(text, kind, path=path)


def parse(text: str, kind: type[T], *, path: Path) -> T:
    """Read configuration text as ``kind``, as if it stood in the file ``path``.

    Raises:
        SettingsError: As ``load``.
    """
    folder = path.absolute().parent

    def decode(wanted: type, value: Any) -> Any:  # noqa: ANN401 - msgspec's signature of a hook
        if wanted is not Path:
            raise NotImplementedError(f"no setting may be a {wanted.__name__}")
        if not isinstance(value, str) or not value:
            raise ValueError("expected a path, got something else")
        return folder / Path(value).expanduser()

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(path, (f"not TOML: {exc}",)) from exc
    problems = tuple(find_problems(table, kind, decode=decode))
    if problems:
        raise SettingsError(path, problems)
    return msgspec.convert(table, kind, dec_hook=decode)
