"""A private RabbitMQ node as an ordinary process of any user: own ports, own folder, nothing left running, no system node touched."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from broker.nodefiles import NodeFiles, NodeMissingError, NodePorts, end_leftovers, find_tool, prepare
from runtime.settings import BrokerSettings

__all__ = ["NodeError", "NodeMissingError", "PrivateNode"]

_HOST: Final = "127.0.0.1"
_PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
_START_WITHIN: Final = 60.0
_STOP_WITHIN: Final = 20.0
_ANSWER_WITHIN: Final = 1.0
_PAUSE: Final = 0.05
_LOG_TAIL: Final = 2000
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class NodeError(Exception):
    """Raised when a private node does not start, or one of its tools fails."""


class PrivateNode:
    """One node, inside a block or between ``start`` and ``stop``.

    Args:
        directory: Where all its files lie; made when missing. A folder that was used before is taken up with all its data, also after
            the node was killed.
        port: The AMQP port on 127.0.0.1; 0 takes any free one.
        distribution_port: The port of Erlang's own protocol; 0 takes any free one.
        settings: Lines of ``rabbitmq.conf`` that replace or join the usual ones.
    """

    def __init__(self, *, directory: Path, port: int = 0, distribution_port: int = 0, settings: Mapping[str, str] = _NOTHING) -> None:
        self._files = NodeFiles(folder=directory.absolute())
        self._extra = settings
        self._ports = NodePorts(amqp=port, distribution=distribution_port, epmd=0)
        self._epmd: Process | None = None
        self._node: Process | None = None
        self._log_start = 0

    @property
    def port(self) -> int:
        """The AMQP port."""
        return self._ports.amqp

    @property
    def url(self) -> str:
        """The node's address, without the password."""
        return f"amqp://{self._files.user}@{_HOST}:{self.port}/"

    @property
    def password_file(self) -> Path:
        """The file with the password of the user in ``url``."""
        return self._files.password_file

    @property
    def broker_settings(self) -> BrokerSettings:
        """How to connect to it."""
        return BrokerSettings(urls=(self.url,), password_file=self.password_file)

    @property
    def pid(self) -> int:
        """The node's process id; 0 when it does not run."""
        return self._node.pid if self.running and self._node is not None else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._node is not None and self._node.returncode is None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the node and return when it answers (some 4 s).

        Raises:
            NodeMissingError: RabbitMQ is not installed.
            NodeError: It did not come up; the message ends with what it said.
        """
        server = await asyncio.to_thread(find_tool, "rabbitmq-server")
        await asyncio.to_thread(end_leftovers, self._files)
        self._ports = _choose(self._ports)
        await asyncio.to_thread(prepare, self._files, self._ports, self._extra)
        self._log_start = await asyncio.to_thread(_size, self._files.log)
        try:
            # With epmd running already the node does not start one as a daemon, which would outlive it.
            self._epmd = await self._spawn("epmd", "epmd", "-port", str(self._ports.epmd), "-address", _HOST)
            self._node = await self._spawn("node", str(server))
            await self._answers()
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Stop the node cleanly, and by force when it does not."""
        if self._node is not None:
            await _end(self._node, signal.SIGTERM)
        await self.kill()

    async def kill(self) -> None:
        """End the node at once, as a power cut would."""
        for process in (self._node, self._epmd):
            if process is not None:
                await _end(process, signal.SIGKILL)
        self._node = self._epmd = None
        for name in ("node", "epmd"):
            await asyncio.to_thread(self._files.pid_file(name).unlink, missing_ok=True)

    async def wait(self) -> int:
        """Return the node's exit status when it ends by itself."""
        return await self._node.wait() if self._node is not None else 0

    async def control(self, *arguments: str, tool: str = "rabbitmqctl") -> str:
        """Run one of RabbitMQ's own tools on this node and return what it prints.

        Raises:
            NodeError: It failed.
        """
        program = await asyncio.to_thread(find_tool, tool)
        process = await asyncio.create_subprocess_exec(
            str(program), *arguments, env=self._files.environment(self._ports), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        output, _ = await process.communicate()
        text = output.decode(errors="replace")
        if process.returncode != 0:
            raise NodeError(f"{tool} {' '.join(arguments)}: {text[-_LOG_TAIL:]}")
        return text

    async def _spawn(self, name: str, *command: str) -> Process:
        with ExitStack() as stack:
            log = stack.enter_context(await asyncio.to_thread(self._files.log.open, "ab"))
            # A session of its own keeps Ctrl-C away from it: we stop it in our order.
            process = await asyncio.create_subprocess_exec(
                *command, cwd=self._files.folder, env=self._files.environment(self._ports), stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        await asyncio.to_thread(self._files.pid_file(name).write_text, str(process.pid))
        return process

    async def _answers(self) -> None:
        try:
            async with asyncio.timeout(_START_WITHIN):
                while not await _speaks_amqp(self.port):
                    if not self.running:
                        raise NodeError(f"the node ended while it started: {await self._complaint()}")
                    await asyncio.sleep(_PAUSE)
        except TimeoutError as exc:
            raise NodeError(f"the node did not answer within {_START_WITHIN:g} s: {await self._complaint()}") from exc

    async def _complaint(self) -> str:
        """Return the first errors of this start; RabbitMQ says what is wrong first and how that brought it down afterwards."""
        text = await asyncio.to_thread(self._files.log.read_text, errors="replace")
        lines = text[self._log_start :].splitlines()
        errors = [line for line in lines if "[error]" in line] or lines
        return "\n".join(errors)[:_LOG_TAIL]


def _size(file: Path) -> int:
    return len(file.read_text(errors="replace")) if file.exists() else 0


async def _end(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process and all it started; wait until it is gone."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number) if number == signal.SIGTERM else os.killpg(process.pid, number)
    try:
        async with asyncio.timeout(_STOP_WITHIN):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _choose(wanted: NodePorts) -> NodePorts:
    """Fill in free ports, all held at once so that they differ."""
    with ExitStack() as stack:

        def free() -> int:
            held = stack.enter_context(socket.socket())
            held.bind((_HOST, 0))
            port: int = held.getsockname()[1]
            return port

        return NodePorts(amqp=wanted.amqp or free(), distribution=wanted.distribution or free(), epmd=wanted.epmd or free())


async def _speaks_amqp(port: int) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection(_HOST, port)
            writer.write(_PROTOCOL_HEADER)
            answer = await reader.read(1)
            writer.close()
            await writer.wait_closed()
    except OSError:
        return False
    return bool(answer)
