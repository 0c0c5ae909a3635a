"""The composition root of a bridge worker: the only place that names concrete classes and reads settings."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from bridge.connectors.base import Connector
from bridge.connectors.local.connector import LocalConnector
from bridge.connectors.local.profile import LocalSettings
from bridge.metrics import BridgeMetrics
from bridge.settings import BridgeSettings
from bridge.worker import Worker
from broker.link import Broker
from runtime.logs import configure, get_logger
from runtime.metrics import process_registry
from runtime.settings import SettingsError, load
from runtime.signals import stop_on_signals
from runtime.status import Readiness, StatusServer

__all__ = ["main", "serve"]

_log = get_logger(__name__)


def make_connector(settings: LocalSettings) -> Connector:
    """Return the connector of the configured kind."""
    match settings:
        case LocalSettings():
            return LocalConnector(settings=settings)


async def serve(settings: BridgeSettings) -> None:
    """Run one worker until SIGTERM or SIGINT, then hand its sessions over."""
    name = settings.worker.name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    configure(settings.log.level, settings.log.format, role="bridge", worker=name, cluster=settings.cluster)
    registry = process_registry(role="bridge", name=name)
    async with AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_on_signals())
        broker = await stack.enter_async_context(Broker(settings=settings.broker, name=f"bridge {name}"))
        connector = await stack.enter_async_context(make_connector(settings.connector))
        worker = await stack.enter_async_context(
            Worker(name=name, settings=settings, broker=broker, connector=connector, metrics=BridgeMetrics(registry=registry))
        )

        async def readiness() -> Readiness:
            return Readiness(ready=worker.ready, problems=() if worker.ready else ("the broker is away or the worker is draining",))

        status = await stack.enter_async_context(StatusServer(host=settings.status.host, port=settings.status.port, registry=registry, readiness=readiness))
        _log.info("bridge ready", status_port=status.port)
        await worker.run(stop)
    _log.info("bridge stopped")


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m bridge``; return the exit code: 0 after a clean stop, 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m bridge",
        description="One bridge worker: owns sessions of a cluster and runs their tasks on its grid. SIGTERM hands the sessions over.",
        epilog="example: python -m bridge --config /etc/sluiceway/bridge.toml --cluster RNDBCARDI_PROD",
    )
    parser.add_argument("--config", type=Path, default=Path("bridge.toml"), help="configuration file (default: bridge.toml)")
    parser.add_argument("--cluster", help="the cluster to serve, instead of the one in the configuration file")
    options = parser.parse_args(arguments)
    try:
        settings = load(options.config, BridgeSettings)
        if options.cluster:
            settings = msgspec.structs.replace(settings, cluster=options.cluster)
    except (SettingsError, ValueError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - logs are not configured yet
        return 2
    uvloop.run(serve(settings))
    return 0
