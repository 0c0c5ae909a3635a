"""The files of a stack: configuration, secrets, addresses, and the lock that keeps a second stack away."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from sluiceway.stack.plan import StackPlan
from sluiceway.stack.processes import StackError
from sluiceway.stack.toml import write_toml

__all__ = ["StackFiles", "free_ports"]

_PRIVATE: Final = 0o600


def free_ports(count: int, host: str, wanted: tuple[int, ...] = ()) -> list[int]:
    """Return ports that are free now: those wanted where they are, all different."""
    ports: list[int] = []
    with ExitStack() as stack:
        for place in range(count):
            held = stack.enter_context(socket.socket())
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                held.bind((host, wanted[place] if place < len(wanted) else 0))
            except OSError:
                held.bind((host, 0))
            ports.append(int(held.getsockname()[1]))
    return ports


class StackFiles:
    """Where everything of one stack lies.

    Args:
        plan: The stack.
    """

    def __init__(self, plan: StackPlan) -> None:
        self._plan = plan
        self._lock: int | None = None
        self.directory = plan.directory.absolute()
        self.logs = self.directory / "logs"
        self.tls = self.directory / "tls"
        self.ca = self.tls / "ca.pem"
        self.certificate = self.tls / "server.pem"
        self.key = self.tls / "server.key"
        self.keys = self.directory / "keys.json"
        self.tokens = self.directory / "tokens.json"
        self.token = self.directory / "token"
        self.audit = self.directory / "audit.jsonl"
        self.rabbitmq = self.directory / "rabbitmq"
        self.client = self.directory / "client.json"

    def lock(self) -> None:
        """Make the folder ours.

        Raises:
            StackError: A stack runs there already.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            self.unlock()
            raise StackError(f"a stack runs already in {self.directory} (process {holder}): stop it first, or name another --dir") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def unlock(self) -> None:
        """Leave the folder to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def ports(self) -> list[int]:
        """Return a port for each gateway: those of the last run where they are free, so that addresses stay."""
        last: tuple[int, ...] = ()
        if self.client.exists():
            urls = json.loads(self.client.read_text(encoding="utf-8")).get("gateways", [])
            last = tuple(port for url in urls if (port := urlsplit(url).port) is not None)
        return free_ports(self._plan.gateways, self._plan.host, last)

    def broker(self, url: str, password_file: str | None) -> dict[str, object]:
        """Return the ``[broker]`` section of every process; a password inside the address goes into a file."""
        parts = urlsplit(url)
        if parts.password:
            file = self.directory / "amqp-password"
            self.write_private(file, unquote(parts.password))
            url = urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}"))
            password_file = str(file)
        return {"urls": [url]} if password_file is None else {"urls": [url], "password_file": password_file}

    @staticmethod
    def write_private(path: Path, text: str) -> None:
        """Write a file that only its owner can read."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)

    def write_broker(self, broker: dict[str, object]) -> Path:
        """Write ``broker.toml``."""
        return self._write("broker", {"broker": broker, "clusters": [{"name": self._plan.grid, "lanes": self._plan.lanes, "limits": self._lanes()}]})

    def write_gateway(self, number: int, port: int, broker: dict[str, object]) -> Path:
        """Write one gateway's configuration."""
        plan = self._plan
        return self._write(
            f"gateway-{number}",
            {
                "name": f"gateway-{number}",
                "listen": {"host": plan.host, "port": port, "certificate_file": str(self.certificate), "key_file": str(self.key)},
                "status": {"port": 0},
                "broker": broker,
                "keys": {"ring_file": str(self.keys)},
                "tokens": {"file": str(self.tokens)},
                "audit": {"file": str(self.audit)},
                "log": {"level": plan.log_level},
                "limits": plan.limits,
                "grids": [{"name": plan.grid, "clusters": [plan.grid], "applications": [one.name for one in plan.applications]}],
            },
        )

    def write_bridge(self, broker: dict[str, object]) -> Path:
        """Write the configuration that all bridge workers share."""
        plan = self._plan
        connector = {"kind": "local", "processes": plan.processes, **plan.connector, "applications": [one.table() for one in plan.applications]}
        return self._write(
            "bridge",
            {
                "cluster": plan.grid,
                "worker": {"drain_seconds": 2.0},
                "session": {"ack_delay": plan.ack_delay, **plan.session},
                "lanes": self._lanes(),
                "broker": broker,
                "status": {"port": 0},
                "log": {"level": plan.log_level},
                "connector": connector,
            },
        )

    def write_client(self, urls: list[str]) -> None:
        """Write where this stack is, for the command line."""
        found = {
            "gateways": urls,
            "token_file": str(self.token),
            "ca_file": str(self.ca),
            "grid": self._plan.grid,
            "application": self._plan.applications[0].name if self._plan.applications else "",
        }
        self.client.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    def _lanes(self) -> dict[str, object]:
        return {"input_bytes": self._plan.lane_bytes, "output_quota": self._plan.lane_bytes}

    def _write(self, name: str, table: dict[str, object]) -> Path:
        path = self.directory / f"{name}.toml"
        path.write_text(write_toml(table), encoding="utf-8")
        return path
