"""A whole site on one machine: RabbitMQ, gateways and bridge workers with a local grid, started and stopped in order."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sluiceway.stack.files import StackFiles
from sluiceway.stack.hearing import wait_for_grid
from sluiceway.stack.plan import StackPlan
from sluiceway.stack.processes import Guard, Program, StackError, run_tool

__all__ = ["Stack"]

_NODE_SECONDS: Final = 90.0
_READY_SECONDS: Final = 60.0
_HEARD_SECONDS: Final = 20.0
_PRINCIPAL: Final = "developer"


def _silent(_line: str) -> None:
    """Tell nobody."""


class Stack:
    """One stack, between ``start`` and ``stop`` or inside a ``with`` block. Blocking: from asyncio, call it in a thread.

    State of an earlier run in the same folder (sessions, keys, certificates, token) is taken up again, also after a crash. Should this
    program be killed, a guard process ends everything it started.

    Args:
        plan: What it consists of.
        tell: Is given a line for each step.

    Example:
        ::

            with Stack(StackPlan(directory=Path(".sluiceway"))) as stack:
                with Gateway(stack.urls, token_file=stack.token_file, ca_file=stack.ca_file) as gateway:
                    ...
                    stack.gateways[0].kill()
    """

    def __init__(self, plan: StackPlan | None = None, *, tell: Callable[[str], None] = _silent) -> None:
        self.plan = plan or StackPlan()
        self._files = StackFiles(self.plan)
        self._tell = tell
        self._guard = Guard()
        self.node: Program | None = None
        """The private RabbitMQ node; None where ``amqp_url`` named another."""
        self.gateways: list[Program] = []
        self.bridges: list[Program] = []
        self.urls: list[str] = []
        """The gateways' addresses, in the order of ``gateways``."""

    @property
    def grid(self) -> str:
        """The grid's name."""
        return self.plan.grid

    @property
    def directory(self) -> Path:
        """Where its files lie."""
        return self._files.directory

    @property
    def token_file(self) -> Path:
        """The token of a principal that may use the grid."""
        return self._files.token

    @property
    def ca_file(self) -> Path:
        """The certificate authority that gateways are verified with."""
        return self._files.ca

    @property
    def programs(self) -> list[Program]:
        """All processes, in the order of their start."""
        return [*([self.node] if self.node else []), *self.bridges, *self.gateways]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and return when it serves.

        Raises:
            StackError: Something did not start, or a stack runs there already; nothing is left running.
        """
        self._files.lock()
        try:
            self._guard.start()
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        with ThreadPoolExecutor(thread_name_prefix="stack") as pool:
            # Programs take a second to import what they need: those that do not wait for each other start together.
            secrets = [pool.submit(step) for step in (self._certificates, self._keys, self._token)]
            broker = self._broker()
            for one in secrets:
                one.result()
        self._tell(f"lanes: {self.plan.lanes} for {self.plan.grid}")
        run_tool(["broker", "setup", "--config", str(self._files.write_broker(broker)), "--json"], what="setting up the broker")
        self._serve(broker)
        self._files.write_client(self.urls)

    def _broker(self) -> dict[str, object]:
        """Start the private node, unless another broker is named; return how to reach it."""
        if self.plan.amqp_url:
            self._tell("broker: the one that was named")
            return self._files.broker(self.plan.amqp_url, None)
        self._tell("broker: a private RabbitMQ node")
        self.node = self._program("rabbitmq", ["broker", "node", "--dir", str(self._files.rabbitmq)], "node ready")
        self.node.start()
        self.node.wait_ready(_NODE_SECONDS)
        said = self.node.announcement
        return self._files.broker(str(said["url"]), str(said["password_file"]))

    def _serve(self, broker: dict[str, object]) -> None:
        """Start gateways and bridges together and wait for all."""
        ports = self._files.ports()
        bridge = self._files.write_bridge(broker)
        self.bridges = [self._program(f"bridge-{n}", ["bridge", "--config", str(bridge)], "bridge ready") for n in range(1, self.plan.bridges + 1)]
        configurations = [self._files.write_gateway(n, port, broker) for n, port in enumerate(ports, 1)]
        self.gateways = [self._program(f"gateway-{n}", ["gateway", "--config", str(one)], "gateway ready") for n, one in enumerate(configurations, 1)]
        self.urls = [f"https://{self.plan.host}:{port}" for port in ports]
        for program in (*self.bridges, *self.gateways):
            program.start()
        for program in (*self.bridges, *self.gateways):
            program.wait_ready(_READY_SECONDS)
            self._tell(f"{program.name}: ready (process {program.pid})")
        wait_for_grid(self.urls, self.grid, token=self.token_file, ca=self.ca_file, within=_HEARD_SECONDS)

    def _program(self, name: str, arguments: list[str], ready_event: str) -> Program:
        command = [sys.executable, "-m", *arguments]
        return Program(name, command, log=self._files.logs / f"{name}.log", ready_event=ready_event, keeper=self._guard)

    def _certificates(self) -> None:
        if not self._files.ca.exists():
            self._tell("certificates: a development authority")
            run_tool(["gateway.certificates", "create", "--out", str(self._files.tls)], what="making certificates")

    def _keys(self) -> None:
        if not self._files.keys.exists():
            run_tool(["sluiceway", "keys", "create", str(self._files.keys)], what="making the key ring")

    def _token(self) -> None:
        if not self._files.token.exists():
            # A token is shown once: one whose own file was lost is of no use to anybody.
            self._files.tokens.unlink(missing_ok=True)
            made = run_tool(["sluiceway", "token", "create", _PRINCIPAL, "--file", str(self._files.tokens), "--json"], what="making a token")
            self._files.write_private(self._files.token, json.loads(made)["token"] + "\n")

    def find(self, name: str) -> Program:
        """Return a process by its name, such as ``gateway-1``.

        Raises:
            KeyError: There is none.
        """
        for program in self.programs:
            if program.name == name:
                return program
        raise KeyError(name)

    def kill(self, name: str) -> None:
        """Kill a process by its name, as a crash would; ``find(name).start()`` brings it back."""
        self.find(name).kill()

    def stop(self) -> None:
        """Stop everything in order: gateways drain, bridges hand over, the broker goes last. Nothing is left running."""
        for group in (self.gateways, self.bridges, [self.node] if self.node else []):
            # What was killed, or has ended by itself, is not told of as stopped.
            running = [program for program in group if program.running]
            for program in running:
                program.terminate()
            for program in group:
                program.wait_end()
            for program in running:
                self._tell(f"{program.name}: stopped")
        self._guard.stop()
        self._files.unlock()

    def check(self) -> None:
        """Do nothing while all processes run.

        Raises:
            StackError: One has ended by itself.
        """
        for program in self.programs:
            if not program.running:
                raise StackError(f"{program.name} has ended; its log is {program.log}")
