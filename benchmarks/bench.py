"""What all parts of one run share: a broker, a folder, sizes, and how to start programs and processes in them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from benchmarks.deployment import Deployment
from benchmarks.lanes import cluster_of
from benchmarks.programs import Program
from benchmarks.sizes import Sizes
from broker.node import PrivateNode
from runtime.settings import BrokerSettings, broker_urls
from schemas.topology import ClusterTopology

__all__ = ["Bench", "open_bench"]

R = TypeVar("R", bound=msgspec.Struct)


class Bench:
    """One run's surroundings.

    Args:
        folder: Gets all files of the run.
        broker: The one node that everything is measured on.
        broker_url: Its address with the password, for those who know no password files.
        broker_version: RabbitMQ's.
        sizes: How much each part does.
    """

    def __init__(self, *, folder: Path, broker: BrokerSettings, broker_url: str, broker_version: str, sizes: Sizes) -> None:
        self._folder = folder
        self._broker = broker
        self._numbers = itertools.count(1)
        self.broker_url = broker_url
        self.broker_version = broker_version
        self.sizes = sizes

    def program(self, module: str, spec: msgspec.Struct) -> Program:
        """Return a program that starts when its block is entered."""
        return Program(module=module, spec=spec, log=self._folder / "programs.log")

    async def run(self, module: str, spec: msgspec.Struct, kind: type[R]) -> R:
        """Run one program alone and return its result."""
        async with self.program(module, spec) as program:
            await program.go()
            return await program.result(kind)

    @asynccontextmanager
    async def deployment(self, topology: ClusterTopology) -> AsyncIterator[Deployment]:
        """Run a gateway and a bridge of a fresh cluster while the block runs."""
        folder = self._folder / f"deployment-{next(self._numbers)}"
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(cluster_of(topology, self._broker, self.broker_url))
            yield await stack.enter_async_context(Deployment(folder=folder, broker=self._broker, topology=topology))


@asynccontextmanager
async def open_bench(folder: Path, sizes: Sizes) -> AsyncIterator[Bench]:
    """Start a private RabbitMQ node for one run, and end it with the block."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        node = await stack.enter_async_context(PrivateNode(directory=folder / "rabbitmq"))
        version = await node.control("version")
        (url,) = await asyncio.to_thread(broker_urls, node.broker_settings)
        yield Bench(folder=folder, broker=node.broker_settings, broker_url=url, broker_version=version.strip(), sizes=sizes)
