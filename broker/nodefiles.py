"""The files of a private RabbitMQ node: where they lie, what stands in them, and which processes still use them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from runtime.secretfiles import read_secret, write_secret

__all__ = ["NodeFiles", "NodeMissingError", "NodePorts", "end_leftovers", "find_tool", "prepare"]

_DEBIAN: Final = Path("/usr/lib/rabbitmq/bin")
_EPMD: Final = "epmd"
_LEFTOVER_WITHIN: Final = 10.0
_PAUSE: Final = 0.05

_CONSUMER_TIMEOUT_MS: Final = 7 * 24 * 3600 * 1000
"""Claims are held for a session's life. RabbitMQ 3.10 knows this only as a setting of the node, and cuts after 30 minutes without it."""

_SETTINGS: Final[Mapping[str, str]] = {
    "consumer_timeout": str(_CONSUMER_TIMEOUT_MS),
    "heartbeat": "5",
    # As in deploy/rabbitmq/rabbitmq.conf: each session of a bridge and each journal that a gateway reads is a channel.
    "channel_max": "16384",
    "max_message_size": str(32 * 1024 * 1024),
    # One node on a developer's machine: the default of 50 MB would let streams fill the disk before the alarm comes.
    "disk_free_limit.absolute": "256MB",
    # The default log of 512 MiB is meant for servers of their own.
    "raft.wal_max_size_bytes": str(64 * 1024 * 1024),
    "tcp_listen_options.backlog": "1024",
    "tcp_listen_options.nodelay": "true",
    "collect_statistics_interval": "5000",
    "log.console": "true",
    "log.console.level": "warning",
    "log.file": "false",
}


class NodeMissingError(Exception):
    """Raised when this machine has no RabbitMQ server."""

    def __init__(self) -> None:
        super().__init__(
            "rabbitmq-server is not installed: run 'apt-get install rabbitmq-server', or set AMQP_URL to a broker that runs, or use 'docker compose up'"
        )


class NodePorts(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node listens, all on the loopback interface."""

    amqp: int
    distribution: int
    epmd: int


class NodeFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one node, all below one folder."""

    folder: Path
    user: str = "sluiceway"

    @property
    def password_file(self) -> Path:
        """The broker user's password."""
        return self.folder / "password"

    @property
    def log(self) -> Path:
        """What the node prints."""
        return self.folder / "node.log"

    @property
    def config(self) -> Path:
        """The node's configuration, written at each start."""
        return self.folder / "rabbitmq.conf"

    def pid_file(self, process: str) -> Path:
        """Where the process id of ``node`` or ``epmd`` stands while it runs."""
        return self.folder / f"{process}.pid"

    def environment(self, ports: NodePorts) -> dict[str, str]:
        """Return the environment that keeps a node, and the tools that talk to it, away from any other on the machine."""
        folder = self.folder
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            # Erlang keeps its cookie in the home folder.
            "HOME": str(folder),
            "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
            "ERL_EPMD_PORT": str(ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "sluiceway@localhost",
            "RABBITMQ_DIST_PORT": str(ports.distribution),
            "RABBITMQ_CONFIG_FILE": str(self.config),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The start script replaces itself by the node then, so that the process id is the node's own.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def find_tool(name: str) -> Path:
    """Return the path of one of RabbitMQ's programs.

    Debian's wrappers in ``/usr/sbin`` insist on root and on the system's node; the scripts behind them serve any user.

    Raises:
        NodeMissingError: It is not installed.
    """
    debian = _DEBIAN / name
    found = debian if debian.exists() else shutil.which(name)
    if found is None:
        raise NodeMissingError
    return Path(found)


def prepare(files: NodeFiles, ports: NodePorts, extra: Mapping[str, str]) -> None:
    """Write what the node reads at its start.

    Args:
        files: Where.
        ports: Where it shall listen.
        extra: Settings that replace or join the usual ones.
    """
    for folder in (files.folder, files.folder / "data", files.folder / "log"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not files.password_file.exists():
        write_secret(files.password_file, secrets.token_urlsafe(24).encode())
    settings = {
        "listeners.tcp.local": f"127.0.0.1:{ports.amqp}",
        "default_user": files.user,
        "default_pass": read_secret(files.password_file),
        **_SETTINGS,
        **extra,
    }
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    write_secret(files.config, text.encode(), replace=True)
    (files.folder / "enabled_plugins").write_text("[].\n")
    (files.folder / "rabbitmq-env.conf").touch()


def end_leftovers(files: NodeFiles) -> None:
    """End what a killed supervisor left running on this folder: two nodes on one folder would ruin it."""
    for process in ("node", _EPMD):
        file = files.pid_file(process)
        if not file.exists():
            continue
        pid = int(file.read_text() or "0")
        if _uses(pid, files.folder):
            _end(pid)
        file.unlink(missing_ok=True)


def _uses(pid: int, folder: Path) -> bool:
    """Whether the process is ours: ids are used again, but nobody else's environment names this folder as home."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"HOME={folder}".encode() in environment.split(b"\0")


def _end(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _LEFTOVER_WITHIN
        try:
            os.kill(pid, number)
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(_PAUSE)
        except ProcessLookupError:
            return
