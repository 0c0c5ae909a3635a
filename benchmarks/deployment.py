"""One gateway process and one bridge process as an operator would start them, on a broker that is there already."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from benchmarks.load.api import Api, Target
from benchmarks.memory import peak_mib
from benchmarks.programs import end
from benchmarks.toml import toml_text
from gateway.certificates import DevelopmentAuthority
from gateway.security.tokens import add_token
from runtime.keyfiles import create_ring
from runtime.settings import BrokerSettings
from schemas.topology import ClusterTopology

__all__ = ["APPLICATION", "GRID_PROCESSES", "Deployment", "DeploymentError"]

APPLICATION: Final = "echo"
GRID_PROCESSES: Final = 2
_HOST: Final = "127.0.0.1"
_READY_WITHIN: Final = 60.0
_PAUSE: Final = 0.05
_ROOT: Final = Path(__file__).parent.parent


class DeploymentError(Exception):
    """Raised when a process of Sluiceway does not start."""


class Deployment:
    """The processes, inside a block. Everything that the configuration leaves out keeps its default; TLS, tokens and audit are on.

    Args:
        folder: Gets configuration, secrets and logs; has to be empty.
        broker: How to reach RabbitMQ.
        topology: The cluster, which is there already.
    """

    def __init__(self, *, folder: Path, broker: BrokerSettings, topology: ClusterTopology) -> None:
        self._folder = folder
        self._broker = broker
        self._topology = topology
        self._port = 0
        self._processes: dict[str, Process] = {}
        self.target = Target(url="", ca_file=str(folder / "ca.pem"), token="")

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._write_files)
        try:
            for role in ("gateway", "bridge"):
                self._processes[role] = await self._start(role)
            for role in self._processes:
                await self._await_ready(role)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stop()

    def pid(self, role: str) -> int:
        """Return the process id of ``gateway`` or ``bridge``."""
        return self._processes[role].pid

    def peak_mib(self, role: str) -> float:
        """Return the most memory that ``gateway`` or ``bridge`` has held resident so far, its child processes left out."""
        return peak_mib(self.pid(role))

    async def session(self, api: Api, connection: str) -> Target:
        """Create a session and return it as a target."""
        session = await api.create_session(connection)
        return msgspec.structs.replace(self.target, session_id=session.session_id, cursor=session.cursor)

    @asynccontextmanager
    async def open_session(self) -> AsyncIterator[Target]:
        """Hold one session open while the block runs."""
        async with Api(target=self.target, connections=1) as api:
            target = await self.session(api, await self.connect(api))
            yield target
            await api.close_session(target.session_id)

    async def connect(self, api: Api) -> str:
        """Return the id of a new connection to the grid of this deployment."""
        return await api.connect(self._topology.cluster, APPLICATION)

    def _write_files(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        DevelopmentAuthority(self._folder).issue([_HOST], days=2)
        create_ring(self._folder / "keys.json")
        token = add_token(self._folder / "tokens.json", name="benchmark", grids=("*",), expires=None, now=int(time.time()))
        self._port = _free_port()
        self.target = msgspec.structs.replace(self.target, url=f"https://{_HOST}:{self._port}", token=token)
        for role, table in (("gateway", self._gateway()), ("bridge", self._bridge())):
            (self._folder / f"{role}.toml").write_text(toml_text(table))

    def _gateway(self) -> dict[str, object]:
        name = self._topology.cluster
        return {
            "listen": {"host": _HOST, "port": self._port, "certificate_file": "server.pem", "key_file": "server.key"},
            "broker": _broker_section(self._broker),
            "keys": {"ring_file": "keys.json"},
            "tokens": {"file": "tokens.json"},
            "audit": {"file": "audit.jsonl"},
            "grids": [{"name": name, "clusters": [name], "applications": [APPLICATION]}],
        }

    def _bridge(self) -> dict[str, object]:
        application = {"name": APPLICATION, "service": "benchmarks.service:Echo", "python_path": [str(_ROOT)]}
        return {
            "cluster": self._topology.cluster,
            "broker": _broker_section(self._broker),
            "lanes": msgspec.to_builtins(self._topology.limits),
            "connector": {"kind": "local", "processes": GRID_PROCESSES, "applications": [application]},
        }

    async def _start(self, role: str) -> Process:
        async with AsyncExitStack() as stack:
            log = stack.enter_context(await asyncio.to_thread(self._log(role).open, "ab"))
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", role, "--config", str(self._folder / f"{role}.toml")),
                cwd=_ROOT,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _await_ready(self, role: str) -> None:
        process, word = self._processes[role], f"{role} ready"
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_WITHIN):
                while process.returncode is None:
                    if word in await self._text(role):
                        return
                    await asyncio.sleep(_PAUSE)
        raise DeploymentError(f"the {role} did not start: {(await self._text(role))[-2000:]}")

    async def _text(self, role: str) -> str:
        return await asyncio.to_thread(self._log(role).read_text, errors="replace")

    def _log(self, role: str) -> Path:
        return self._folder / f"{role}.log"

    async def _stop(self) -> None:
        for process in self._processes.values():
            await end(process)


def _broker_section(broker: BrokerSettings) -> dict[str, object]:
    return {"urls": list(broker.urls), "password_file": str(broker.password_file)}


def _free_port() -> int:
    with socket.socket() as held:
        held.bind((_HOST, 0))
        port: int = held.getsockname()[1]
    return port
