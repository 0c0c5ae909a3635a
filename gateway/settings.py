"""The gateway's configuration: what ``gateway.toml`` may say, with its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from runtime.settings import BrokerSettings, KeysSettings, LogSettings, Section, StatusSettings

__all__ = ["AuditSettings", "GatewaySettings", "GridSettings", "Limits", "ListenSettings", "TokensSettings"]

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""What Java 8 and later offer; TLS 1.3 has its own suites."""

_MIB: Final = 1024 * 1024

Bytes = Annotated[int, Meta(ge=1024, le=1024 * _MIB)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class ListenSettings(Section, frozen=True, kw_only=True):
    """``[listen]``: the HTTPS listener; port 0 takes any free one.

    Args:
        host: The address to listen on.
        port: The port.
        certificate_file: The certificate chain (PEM), the gateway's own first.
        key_file: Its private key (PEM).
        ciphers: OpenSSL's list of cipher suites for TLS 1.2.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8443
    certificate_file: Path
    key_file: Path
    ciphers: str = _CIPHERS


class TokensSettings(Section, frozen=True, kw_only=True):
    """``[tokens]``: the file of token hashes that ``sluiceway token`` writes."""

    file: Path


class AuditSettings(Section, frozen=True, kw_only=True):
    """``[audit]``: where audit lines go.

    Args:
        file: One JSON object a line is appended here.
        required: Whether requests are refused while the file cannot be written.
    """

    file: Path
    required: bool = True


class GridSettings(Section, frozen=True, kw_only=True):
    """``[[grids]]``: a name that clients use for one or more clusters.

    Args:
        name: The grid's name.
        clusters: Its clusters, the preferred one first.
        applications: What may be connected to; empty leaves that to the grid's workers.
        urls: Cluster URLs that clients may name instead of the grid; looked up here, never dialled.
        log_on: Whether ``connect`` has to bring a user name.
    """

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    clusters: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]
    applications: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    log_on: Literal["none", "password"] = "none"


class Limits(Section, frozen=True, kw_only=True):
    """``[limits]``: what one gateway takes on at once. Bytes and seconds.

    Args:
        body_bytes: The largest request body.
        task_bytes: The largest task input.
        answer_bytes: Where an answer with outputs is cut.
        header_bytes: The largest head of a request.
        header_seconds: How long a client may take to send the head.
        body_seconds: How long a client may take to send the body.
        keep_alive_seconds: How long an idle connection stays open.
        requests: How many requests may be under way.
        in_flight_bytes: How many bytes of bodies and answers may be held.
        create_seconds: How long ``createSession`` waits for a bridge before it answers 202.
        wait_seconds: The longest long poll.
        reader_bytes: How much outputs of all sessions may be read ahead.
        session_reader_bytes: The same for one session.
        readers: How many journals may be kept open.
        reader_idle_seconds: How long a journal stays open that nobody polls.
        notice_seconds: At the end of the process: how long load balancers get to notice before the listener closes.
        drain_seconds: At the end of the process: how long requests get to finish.
    """

    body_bytes: Bytes = 16 * _MIB
    task_bytes: Bytes = 8 * _MIB
    answer_bytes: Bytes = 8 * _MIB
    header_bytes: Bytes = 32 * 1024
    header_seconds: Seconds = 10.0
    body_seconds: Seconds = 60.0
    keep_alive_seconds: Annotated[int, Meta(ge=1, le=3600)] = 75
    requests: Count = 4000
    in_flight_bytes: Bytes = 128 * _MIB
    create_seconds: Seconds = 10.0
    wait_seconds: Seconds = 30.0
    reader_bytes: Bytes = 64 * _MIB
    session_reader_bytes: Bytes = 4 * _MIB
    readers: Count = 2000
    reader_idle_seconds: Seconds = 60.0
    notice_seconds: Annotated[float, Meta(ge=0, le=600)] = 0.5
    drain_seconds: Annotated[int, Meta(ge=1, le=600)] = 10


class GatewaySettings(Section, frozen=True, kw_only=True):
    """``gateway.toml``.

    Args:
        name: The name of this process in logs, audit lines and on the broker; made from host and process id when empty.
        listen: The HTTPS listener.
        status: The status listener.
        broker: RabbitMQ.
        keys: The key ring.
        log: What goes to standard output.
        tokens: Who may enter.
        audit: Who did what.
        limits: What one gateway takes on.
        grids: Where work may go.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    listen: ListenSettings
    status: StatusSettings = StatusSettings()
    broker: BrokerSettings
    keys: KeysSettings
    log: LogSettings = LogSettings()
    tokens: TokensSettings
    audit: AuditSettings
    limits: Limits = Limits()
    grids: Annotated[tuple[GridSettings, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        names = [grid.name for grid in self.grids]
        if len(set(names)) != len(names):
            raise ValueError("grids: two have the same name")
