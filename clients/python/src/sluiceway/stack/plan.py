"""What a stack consists of: how many processes, which grid, which applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Application", "StackPlan"]


@dataclass(frozen=True, kw_only=True)
class Application:
    """One application of the stack's grid.

    Args:
        name: What ``connect`` names.
        service: Its service's entry point, ``module:Class``.
        processes: Worker processes at each bridge; None: the plan's.
        invoke_timeout: Seconds that one run of a task may take.
        python_path: Folders that worker processes search for the service.
        settings: Further keys of ``[[connector.applications]]``, such as ``session_types``.
    """

    name: str
    service: str
    processes: int | None = None
    invoke_timeout: float | None = None
    python_path: tuple[Path, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)

    def table(self) -> dict[str, object]:
        """Return the application's table of ``bridge.toml``."""
        table: dict[str, object] = {"name": self.name, "service": self.service}
        if self.processes is not None:
            table["processes"] = self.processes
        if self.invoke_timeout is not None:
            table["invoke_timeout"] = self.invoke_timeout
        if self.python_path:
            table["python_path"] = [str(one.absolute()) for one in self.python_path]
        return table | dict(self.settings)


@dataclass(frozen=True, kw_only=True)
class StackPlan:
    """One stack.

    Args:
        directory: Where all its files lie; state of an earlier run is taken up again.
        grid: The name of its grid and of the grid's one cluster.
        applications: What the grid can run.
        gateways: How many HTTPS gateways.
        bridges: How many bridge workers.
        processes: Worker processes of each application at each bridge.
        lanes: How many sessions can be open at once.
        lane_bytes: What one lane may hold of inputs, and of outputs that nobody has acknowledged.
        ack_delay: Seconds that an output must have been visible before its input is given up.
        amqp_url: A RabbitMQ to use (``amqp://user:password@host/``) in place of a private node.
        host: The address that everything listens on.
        limits: Keys of the gateways' ``[limits]``.
        session: Keys of the bridges' ``[session]``.
        connector: Keys of the bridges' ``[connector]``.
        log_level: Of gateways and bridges.
    """

    directory: Path = Path(".sluiceway")
    grid: str = "RNDBCARDI_PROD"
    applications: tuple[Application, ...] = (Application(name="ping", service="examples.ping.service:Ping"),)
    gateways: int = 2
    bridges: int = 2
    processes: int = 1
    lanes: int = 16
    lane_bytes: int = 64 * 1024 * 1024
    ack_delay: float = 5.0
    amqp_url: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    limits: Mapping[str, object] = field(default_factory=dict)
    session: Mapping[str, object] = field(default_factory=dict)
    connector: Mapping[str, object] = field(default_factory=dict)
    log_level: str = "info"
